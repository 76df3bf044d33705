(* Statement 6 (activation-covariance), corollaries for a binary root: the covariance operator of a tree network's node.

     OP_mu = V_{z_0}[Kbar] = (1 - rho_0^2)/4 DK DK^T,    DK = E[K | z_0 = 1] - E[K | z_0 = 0],    rank at most n_L

   and the leading operator of every loss of r_+ - r_- is 2 xi(r(0, 1)) times the same matrix: losses differ in
   speed, not in direction.  Points are the two states of the root, augmentations the states of the rest of the tree.
   Where the network above the node is linear, K = f kron J^T with the same J everywhere (at the top J = I, for every
   network),

     OP_mu = o_mu a_mu a_mu^T kron J^T J

   Theorems: binary_root_operator, binary_root_rank, binary_root_losses, linear_operator.
   Page: docs/mathematics/activation-covariance.md. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec Gradient DualGradient Population CovarianceOperator WeightedCovarianceOperator.
From Covop Require Import LatentTree ActivationCovariance.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section BinaryRoot.

Variables (R : realFieldType) (A : finType) (prior : bool -> R) (q : bool -> A -> R).
Hypothesis prior_total : prior true + prior false = 1.
Variables (N m : nat) (K : bool -> A -> 'M[R]_(N, m)).

(* rho_0 = P(z_0 = 1) - P(z_0 = 0) *)
Definition rho0 : R := prior true - prior false.

(* DK = E[K | z_0 = 1] - E[K | z_0 = 0] *)
Definition root_gap : 'M[R]_(N, m) := bar q K true - bar q K false.

Let both (V : lmodType R) (F : bool -> V) : mean prior F = prior true *: F true + prior false *: F false.
Proof. by rewrite /mean big_bool. Qed.

Lemma prior_product : prior true * prior false = (1 - rho0 ^+ 2) / 4%:R.
Proof.
rewrite /rho0; have -> : prior false = 1 - prior true by rewrite -prior_total addrAC subrr add0r.
by field.
Qed.

Lemma variance_two_points : variance prior q K = (prior true * prior false) *: (root_gap *m root_gap^T).
Proof.
rewrite /variance /cov !both /root_gap; move: (bar q K true) (bar q K false) => U V.
have -> : prior false = 1 - prior true by rewrite -prior_total addrAC subrr add0r.
have -> : (U - V)^T = U^T - V^T by rewrite linearB.
move: (prior true) => a; rewrite !mulmxBl !mulmxBr !mulmxDl !mulmxDr -!scalemxAl -!scalemxAr.
move: (U *m U^T) (U *m V^T) (V *m U^T) (V *m V^T) => UU UV VU VV.
apply/matrixP=> i j; rewrite !mxE; move: (UU i j) (UV i j) (VU i j) (VV i j) => uu uv vu vv; ring.
Qed.

Theorem binary_root_operator : variance prior q K = ((1 - rho0 ^+ 2) / 4%:R) *: (root_gap *m root_gap^T).
Proof. by rewrite variance_two_points prior_product. Qed.

Theorem binary_root_rank : (\rank (variance prior q K) <= m)%N.
Proof.
rewrite binary_root_operator scalemxAl; apply: leq_trans (mxrankM_maxl _ _) _; exact: rank_leq_col.
Qed.

(* The pair weight enters as a factor only. *)
Theorem binary_root_losses (xi : R -> R) (f : bool -> A -> 'cV[R]_m) :
  weighted_variance prior q xi K f = (2%:R * xi (mean_distance q f true false)) *: variance prior q K.
Proof.
rewrite variance_two_points /weighted_variance /pairs !both !subrr !mul0mx !scaler0 add0r addr0 -/root_gap.
have sym : mean_distance q f false true = mean_distance q f true false by apply: distanceC.
have gapN : bar q K false - bar q K true = - root_gap by rewrite /root_gap opprB.
rewrite sym gapN linearN mulmxN mulNmx opprK; move: (xi _) (root_gap *m _) => z D.
by rewrite !scalerA -scalerDl; congr (_ *: _); ring.
Qed.

End BinaryRoot.

(* Connections f kron J^T with one Jacobian J for all inputs. *)
Section Linear.

Variables (R : realFieldType) (n h m : nat) (J : 'M[R]_(m, h)).

Lemma kronc_gram (u w : 'cV[R]_n) : kronc u J^T *m (kronc w J^T)^T = kron (u *m w^T) (J^T *m J).
Proof.
apply/matrixP=> k l; rewrite -[k]at_slow_fast -[l]at_slow_fast kronE.
rewrite !mxE big_ord1 !mxE mulr_sumr; apply: eq_bigr => c _.
by rewrite !mxE !slow_at !fast_at mulrACA.
Qed.

Lemma kron_sub (M N : 'M[R]_n) (B : 'M[R]_h) : kron (M - N) B = kron M B - kron N B.
Proof. by apply/matrixP=> i j; rewrite !mxE mulrBl. Qed.

Variables (X A : finType) (p : X -> R) (q : X -> A -> R) (v : X -> A -> 'cV[R]_n).

Lemma variance_kron : variance p q (fun x a => kronc (v x a) J^T)
  = kron (cov p (bar q v) (fun x => (bar q v x)^T)) (J^T *m J).
Proof.
have kron_bar x : bar q (fun x a => kronc (v x a) J^T) x = kronc (bar q v x) J^T.
  by rewrite /bar (mean_map (q x) (f := fun u => kronc u J^T)) // => [u w|c w];
    apply/matrixP=> i j; rewrite !mxE ?mulrDl ?mulrA.
have kron_mean : mean p (fun x => kronc (bar q v x) J^T) = kronc (mean p (bar q v)) J^T.
  by rewrite (mean_map p (f := fun u => kronc u J^T)) // => [u w|c w];
    apply/matrixP=> i j; rewrite !mxE ?mulrDl ?mulrA.
have -> : variance p q (fun x a => kronc (v x a) J^T)
    = mean p (fun x => kron (bar q v x *m (bar q v x)^T) (J^T *m J))
      - kron (mean p (bar q v) *m (mean p (bar q v))^T) (J^T *m J).
  rewrite /variance /cov (mean_ext p kron_bar) kron_mean; congr (_ - _).
    by apply: mean_ext => x; rewrite !kron_bar kronc_gram.
  rewrite -kronc_gram; congr (_ *m _); rewrite -kron_mean -mean_tr; apply: mean_ext => x.
  by rewrite kron_bar.
have -> : mean p (fun x => kron (bar q v x *m (bar q v x)^T) (J^T *m J))
    = kron (mean p (fun x => bar q v x *m (bar q v x)^T)) (J^T *m J).
  by rewrite (mean_map p (f := fun M => kron M (J^T *m J))) // => [u w|c w];
    apply/matrixP=> i j; rewrite !mxE ?mulrDl ?mulrA.
by rewrite /cov mean_tr kron_sub.
Qed.

End Linear.

Section Tree.

Variables (R : realFieldType) (prior : bool -> R) (F : forest R [finType of bool]) (mu : node F).
Variables (n h m : nat) (nu : 'I_n -> child (below mu)) (f : forall k, bool -> states (beneath (nu k)) -> R).
Hypotheses (prior_total : prior true + prior false = 1) (proper_F : proper F).

(* The population of the tree: given z_0 = i, the children's neurons have the means of the joint law. *)
Variables (A : finType) (q : bool -> A -> R) (v : bool -> A -> 'cV[R]_n) (J : 'M[R]_(m, h)).
Hypothesis tree_means : forall i k, bar q v i k 0 = mean_given_root f k i.

Theorem linear_operator : variance prior q (fun i a => kronc (v i a) J^T)
  = (path_polarity mu ^+ 2 * (1 - root_polarity prior ^+ 2)) *: kron (a_mu f *m (a_mu f)^T) (J^T *m J).
Proof.
have E : cov prior (bar q v) (fun i => (bar q v i)^T) = covariance_over_root prior f.
  apply/matrixP=> k l; rewrite [RHS]mxE /cov_root /expect_root /cov [LHS]mxE [X in _ + X]mxE; congr (_ - _).
    rewrite mean_entry; apply: eq_bigr => i _; congr (_ * _); by rewrite !mxE big_ord1 !mxE !tree_means.
  rewrite mxE big_ord1 !mean_entry; congr (_ * _); apply: eq_bigr => i _; by rewrite ?mxE tree_means.
rewrite variance_kron E activation_covariance //; apply/matrixP=> i j; by rewrite !mxE mulrA.
Qed.

End Tree.
