(* Statement 6 (activation-covariance), arXiv 2010.00578: neurons of a latent tree, from the joint law.

     V_{z_0}[ E[f_{N_mu^ch} | z_0] ] = o_mu a_mu a_mu^T,    o_mu = rho_{0 mu}^2 (1 - rho_0^2),
       a_mu = [rho_{mu nu(k)} s_k]

   for every binary tree and every node mu of it, tables symmetric or not; neuron k is any function of the states of
   a child of mu and of what is below it, s_k is half the gap of its two conditional means.
   Theorems: activation_covariance; categorical_covariance and categorical_rank (any number of states: rank below the
   largest number of states in the tree).  Page: docs/mathematics/activation-covariance.md. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import LatentTree.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(* Covariance over the root z_0 with the prior pi. *)
Section Root.

Variables (R : comRingType) (S : finType) (prior : S -> R).

Definition expect_root (g : S -> R) : R := \sum_i prior i * g i.
Definition cov_root (g h : S -> R) : R := expect_root (fun i => g i * h i) - expect_root g * expect_root h.

(* Neurons at the children of a node mu, and their means given z_0. *)
Variables (F : forest R S) (mu : node F) (n : nat) (nu : 'I_n -> child (below mu)).
Variable f : forall k, S -> states (beneath (nu k)) -> R.

Definition activation k (i : S) (z : states F) : R :=
  let y := node_states mu z in f (child_state (nu k) y) (child_states (nu k) y).
Definition mean_given_root k (i : S) : R := expect i (activation k i).
Definition mean_given_child k (j : S) : R := expect j (f (k := k) j).

(* V_{z_0}[E[f | z_0]] *)
Definition covariance_over_root : 'M[R]_n := \matrix_(k, l) cov_root (mean_given_root k) (mean_given_root l).

Hypothesis proper_F : proper F.

Lemma mean_along_path k i : mean_given_root k i
  = \sum_j transition mu i j * \sum_l table_of (nu k) j l * mean_given_child k l.
Proof.
pose h (j : S) y := f (child_state (nu k) y) (child_states (nu k) y).
rewrite /mean_given_root /activation (markov i h) //; apply: eq_bigr => j _; congr (_ * _).
rewrite /h (total_expectation j (fun l x => f (k := k) l x)) //; exact: proper_below.
Qed.

End Root.

Section Binary.

Variable R : realFieldType.
Local Notation table := (table R [finType of bool]).

(* rho = P(1 | 1) - P(1 | 0) *)
Definition polarity (T : table) : R := T true true - T false true.
Definition gap (g : bool -> R) : R := g true - g false.

Lemma gap_apply (T : table) g : is_table T -> gap (fun i => \sum_j T i j * g j) = polarity T * gap g.
Proof.
move=> H; have E i : T i false = 1 - T i true by rewrite -(H i) big_bool /= addrAC subrr add0r.
by rewrite /gap !big_bool /= !E /polarity; ring.
Qed.

(* rho_{0 mu}: the product along the path. *)
Fixpoint path_polarity (F : forest R [finType of bool]) (v : node F) : R :=
  match v with Root _ => 1 | Down _ c u => polarity (table_of c) * path_polarity u end.

Lemma gap_transition F (v : node F) g : proper F ->
  gap (fun i => \sum_k transition v i k * g k) = path_polarity v * gap g.
Proof.
elim: v => {F} [F|F c v IH] proper_F /=; first by rewrite /gap !big_bool /=; ring.
have [table_c proper_c] := proper_child c proper_F.
rewrite -mulrA -IH // -gap_apply // /gap; congr (_ - _); under eq_bigr do rewrite mulr_suml;
  rewrite exchange_big; apply: eq_bigr => j _; rewrite mulr_sumr; apply: eq_bigr => k _; by rewrite mulrA.
Qed.

Variable prior : bool -> R.
Hypothesis prior_total : prior true + prior false = 1.

(* rho_0 = P(z_0 = 1) - P(z_0 = 0) *)
Definition root_polarity : R := prior true - prior false.

Lemma cov_root_binary g h :
  cov_root (S := [finType of bool]) prior g h = (1 - root_polarity ^+ 2) * (gap g / 2%:R) * (gap h / 2%:R).
Proof.
rewrite /cov_root /expect_root !big_bool /= /gap /root_polarity.
have -> : prior false = 1 - prior true by rewrite -prior_total addrAC subrr add0r.
by field.
Qed.

Variables (F : forest R [finType of bool]) (mu : node F) (n : nat) (nu : 'I_n -> child (below mu)).
Variable f : forall k, bool -> states (beneath (nu k)) -> R.
Hypothesis proper_F : proper F.

(* s_k = 1/2 (E[f_k | z_nu = 1] - E[f_k | z_nu = 0]) *)
Definition selectivity k : R := gap (mean_given_child f k) / 2%:R.
Definition a_mu : 'cV[R]_n := \col_k (polarity (table_of (nu k)) * selectivity k).

Theorem activation_covariance : covariance_over_root prior f
  = (path_polarity mu ^+ 2 * (1 - root_polarity ^+ 2)) *: (a_mu *m a_mu^T).
Proof.
have E k : gap (mean_given_root f k) = path_polarity mu * (polarity (table_of (nu k)) * gap (mean_given_child f k)).
  rewrite -gap_apply; last by have [] := proper_child (nu k) (proper_below mu proper_F).
  by rewrite -gap_transition // /gap !mean_along_path.
apply/matrixP=> k l; rewrite !mxE big_ord1 !mxE cov_root_binary !E /selectivity; by field.
Qed.

End Binary.

(* k + 1 states at every node; a node with fewer has states of probability 0. *)
Section Categorical.

Variables (R : fieldType) (m : nat) (prior : 'I_m.+1 -> R).
Local Notation S := ([finType of 'I_m.+1]).
Hypothesis total : \sum_i prior i = 1.

(* diag pi - pi pi^T *)
Definition spread : 'M[R]_m.+1 := diag_mx (\row_i prior i) - (\col_i prior i) *m (\row_i prior i).

Lemma spread_cov (x y : 'cV[R]_m.+1) :
  (x^T *m spread *m y) 0 0 = cov_root (S := S) prior (fun i => x i 0) (fun i => y i 0).
Proof.
rewrite mulmxBr mulmxBl mxE [X in _ + X]mxE /cov_root /expect_root; congr (_ - _).
  by rewrite mul_mx_diag mxE; apply: eq_bigr => i _; rewrite !mxE mulrAC mulrC mulrA.
rewrite mulmxA -mulmxA mxE big_ord1 !mxE; congr (_ * _); apply: eq_bigr => i _; rewrite !mxE //.
exact: mulrC.
Qed.

Lemma spread_ones : spread *m const_mx 1 = 0 :> 'cV_m.+1.
Proof.
apply/matrixP=> i j; rewrite mulmxBl mul_diag_mx -mulmxA !mxE big_ord1 !mxE mulr1.
under eq_bigr do rewrite !mxE mulr1; by rewrite total mulr1 subrr.
Qed.

Variables (F : forest R S) (mu : node F) (n : nat) (nu : 'I_n -> child (below mu)).
Variable f : forall k, S -> states (beneath (nu k)) -> R.
Hypothesis proper_F : proper F.

(* T_{0 mu}, and the means of the neurons given z_mu. *)
Definition transition_matrix : 'M[R]_m.+1 := \matrix_(i, j) transition mu i j.
Definition means : 'M[R]_(m.+1, n) := \matrix_(j, k) \sum_l table_of (nu k) j l * mean_given_child f k l.

(* V = F^T T^T (diag pi - pi pi^T) T F *)
Theorem categorical_covariance : covariance_over_root prior f
  = means^T *m transition_matrix^T *m spread *m transition_matrix *m means.
Proof.
have E k : col k (transition_matrix *m means) = \col_i mean_given_root f k i.
  apply/matrixP=> i z; rewrite !mxE mean_along_path //; apply: eq_bigr => j _; by rewrite !mxE.
apply/matrixP=> k l; rewrite -trmx_mul -!mulmxA [LHS]mxE.
have -> (M : 'M[R]_(m.+1, n)) (B : 'M[R]_m.+1) : (M^T *m (B *m M)) k l = ((col k M)^T *m B *m col l M) 0 0.
  by rewrite -mulmxA !mxE; apply: eq_bigr => i _; rewrite !mxE; congr (_ * _); apply: eq_bigr => j _; rewrite !mxE.
rewrite !E spread_cov /cov_root /expect_root; congr (_ - _); last congr (_ * _);
  apply: eq_bigr => i _; by rewrite !mxE.
Qed.

(* Rank below the number of states, which all nodes share. *)
Theorem categorical_rank : (\rank (covariance_over_root prior f) <= m)%N.
Proof.
rewrite categorical_covariance; apply: leq_trans (mxrankM_maxl _ _) _; apply: leq_trans (mxrankM_maxl _ _) _.
apply: leq_trans (mxrankM_maxr _ _) _; rewrite -ltnS ltn_neqAle rank_leq_row andbT.
apply/negP; rewrite -[_ == _]/(row_free spread) row_free_unit => unit.
have /matrixP/(_ 0 0) := congr1 (mulmx (invmx spread)) spread_ones.
by rewrite mulKmx // mulmx0 !mxE => /eqP; rewrite oner_eq0.
Qed.

End Categorical.
