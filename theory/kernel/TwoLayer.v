(* Statement 5 (two-layer-dynamics), arXiv 2010.00578, one hidden layer: f = W_2 psi(W_1 x), psi (leaky) ReLU.

     d w_1j = sum_k (w_2j^T w_2k) A_jk w_1k,   d W_2 = W_2 Cov_x[E_aug f_1],   A_jk = Cov_x(E_aug xt_j, E_aug xt_k)

   for the one-branch update -grad of the simple loss, where xt_j = psi'(w_1j^T x) x; where A_jk = 0 for j <> k,

     d w_1j = ||w_2j||^2 A_jj w_1j,            d w_2j = (w_1j^T A_jj w_1j) w_2j

   and for every differentiable loss of the outputs the flow conserves ||w_1j||^2 - ||w_2j||^2, which a step of descent
   with rate eta changes by eta^2 (||grad w_1j||^2 - ||grad w_2j||^2).
   Theorems: two_layer_dynamics, two_layer_decoupled, two_layer_conserved, two_layer_step, uncorrelated_inputs (when
   A_jk = 0).  Page: docs/mathematics/two-layer-dynamics.md. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec Gradient DualGradient Relu Population CovarianceOperator.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Network.

Variables (R : realFieldType) (slope : R) (n0 n1 n2 : nat).

Definition two_layer (W1 : 'M[R]_(n1, n0)) (W2 : 'M[R]_(n2, n1)) (x : 'cV[R]_n0) : 'cV[R]_n2 :=
  W2 *m map_mx (phi slope) (W1 *m x).

(* Weights into and out of neuron j. *)
Definition w1 (W1 : 'M[R]_(n1, n0)) j : 'cV[R]_n0 := (row j W1)^T.
Definition w2 (W2 : 'M[R]_(n2, n1)) j : 'cV[R]_n2 := col j W2.

(* xt_j = psi'(w_1j^T x) x *)
Definition gated_input (W1 : 'M[R]_(n1, n0)) j (x : 'cV[R]_n0) : 'cV[R]_n0 := gates slope (W1 *m x) 0 j *: x.

Definition hidden (W1 : 'M[R]_(n1, n0)) (x : 'cV[R]_n0) : 'cV[R]_n1 := map_mx (phi slope) (W1 *m x).

(* Both layers as the moving layer of a tower. *)
Let first (W2 : 'M[R]_(n2, n1)) : upper R n2 n1 := UAbove W2 (UTop R n2).
Let second (W1 : 'M[R]_(n1, n0)) : lower R n0 n1 := LBelow (LInput R n0) W1.

Lemma first_layer W1 W2 x : two_layer W1 W2 x = relu_net slope (LInput R n0) (first W2) W1 x.
Proof. by []. Qed.

Lemma second_layer W1 W2 x : two_layer W1 W2 x = relu_net slope (second W1) (UTop R n2) W2 x.
Proof. by []. Qed.

(* No pre-activation is 0. *)
Definition active (W1 : 'M[R]_(n1, n0)) (x : 'cV[R]_n0) : Prop := forall j, (W1 *m x) j 0 != 0.

Definition first_connection W1 W2 x : 'M[R]_(n0 * n1, n2) := relu_connection slope (LInput R n0) (first W2) W1 x.
Definition second_connection W1 W2 x : 'M[R]_(n1 * n2, n2) := relu_connection slope (second W1) (UTop R n2) W2 x.

(* The rows of vec W_1 that belong to neuron j. *)
Definition block c j (M : 'M[R]_(n0 * n1, c)) : 'M[R]_(n0, c) := \matrix_(i, k) M (at_pair i j) k.

Lemma block_vec j (G : 'M[R]_(n1, n0)) : block j (vec G) = w1 G j.
Proof. by apply/matrixP=> i k; rewrite (ord1 k) mxE vecE !mxE. Qed.

Lemma block_add c j (M N : 'M[R]_(n0 * n1, c)) : block j (M + N) = block j M + block j N.
Proof. by apply/matrixP=> i k; rewrite !mxE. Qed.

Lemma block_scale c j a (M : 'M[R]_(n0 * n1, c)) : block j (a *: M) = a *: block j M.
Proof. by apply/matrixP=> i k; rewrite !mxE. Qed.

Lemma block_opp c j (M : 'M[R]_(n0 * n1, c)) : block j (- M) = - block j M.
Proof. by apply/matrixP=> i k; rewrite !mxE. Qed.

Lemma block_mul c e j (M : 'M[R]_(n0 * n1, c)) (B : 'M[R]_(c, e)) : block j (M *m B) = block j M *m B.
Proof. by apply/matrixP=> i k; rewrite !mxE; apply: eq_bigr => l _; rewrite mxE. Qed.

Lemma block_inj (u v : 'cV[R]_(n0 * n1)) : (forall j, block j u = block j v) -> u = v.
Proof.
move=> E; apply/matrixP=> k z; rewrite (ord1 z) -[k]at_slow_fast.
by have /matrixP/(_ (slow k) 0) := E (fast k); rewrite !mxE.
Qed.

Lemma block_connection W1 W2 x j : block j (first_connection W1 W2 x) = gated_input W1 j x *m (w2 W2 j)^T.
Proof.
apply/matrixP=> i c; rewrite mxE kroncE /= mul1mx /gate mul_mx_diag !mxE big_ord1 !mxE.
by rewrite -mulrA [RHS]mulrCA [_ * W2 c j]mulrC.
Qed.

Lemma second_connectionE W1 W2 x : second_connection W1 W2 x = kronc (hidden W1 x) 1%:M.
Proof. by rewrite /second_connection /relu_connection /connection activation_gated trmx1. Qed.

Lemma hidden_gated W1 x j : hidden W1 x j 0 = inner (gated_input W1 j x) (w1 W1 j).
Proof.
rewrite /hidden -gate_phi mul_diag_mx mxE /gated_input innerZl; congr (_ * _).
by rewrite mxE innerE; apply: eq_bigr => i _; rewrite big_ord1 !mxE mulrC.
Qed.

Lemma inner_mx m (u v : 'cV[R]_m) : u^T *m v = (inner u v)%:M.
Proof.
apply/matrixP=> i j; rewrite (ord1 i) (ord1 j) !mxE eqxx mulr1n innerE.
by apply: eq_bigr => k _; rewrite big_ord1 mxE.
Qed.

Lemma two_layer_sum W1 W2 x : two_layer W1 W2 x = \sum_k w2 W2 k *m ((gated_input W1 k x)^T *m w1 W1 k).
Proof.
apply/matrixP=> c z; rewrite (ord1 z) mxE summxE; apply: eq_bigr => k _.
by rewrite -/(hidden W1 x) hidden_gated inner_mx mxE big_ord1 !mxE eqxx mulr1n.
Qed.

End Network.

Section Dynamics.

Variables (R : realFieldType) (slope : R) (X A : finType) (p : X -> R) (q : X -> A -> R).
Hypothesis p_total : \sum_x p x = 1.
Hypothesis q_total : forall x, \sum_a q x a = 1.
Variables (n0 n1 n2 : nat) (input : X -> A -> 'cV[R]_n0) (W1 : 'M[R]_(n1, n0)) (W2 : 'M[R]_(n2, n1)).

(* E_aug xt_j, a function of the object. *)
Definition gated_mean j (x : X) : 'cV[R]_n0 := bar q (fun x a => gated_input slope W1 j (input x a)) x.

(* A_jk = Cov_x(E_aug xt_j, E_aug xt_k) *)
Definition gated_cov j k : 'M[R]_n0 := cov p (gated_mean j) (fun x => (gated_mean k x)^T).

(* Cov_x[E_aug f_1] *)
Definition hidden_mean : X -> 'cV[R]_n1 := bar q (fun x a => hidden slope W1 (input x a)).
Definition hidden_cov : 'M[R]_n1 := cov p hidden_mean (fun x => (hidden_mean x)^T).

(* E[r_+ - r_-] as a function of the weights that the tower of x_1 has in one layer. *)
Definition loss_first (V : 'M[R]_(n1, n0)) : R :=
  simple_loss_one_branch p q (fun U x a => two_layer slope U W2 (input x a)) W1 V.
Definition loss_second (V : 'M[R]_(n2, n1)) : R :=
  simple_loss_one_branch p q (fun U x a => two_layer slope W1 U (input x a)) W2 V.

Lemma cov_sum (I : finType) m n k (F : X -> 'M[R]_(m, n)) (G : I -> X -> 'M[R]_(n, k)) :
  cov p F (fun x => \sum_i G i x) = \sum_i cov p F (G i).
Proof.
have E (V : lmodType R) (H : I -> X -> V) : mean p (fun x => \sum_i H i x) = \sum_i mean p (H i).
  by rewrite /mean exchange_big; apply: eq_bigr => x _; rewrite scaler_sumr.
rewrite /cov E mulmx_sumr sumrB -E; congr (_ - _); apply: mean_ext => x; exact: mulmx_sumr.
Qed.

Lemma cov_factors m k l (F : X -> 'cV[R]_m) (u v : 'cV[R]_k) (G : X -> 'rV[R]_l) (c : 'cV[R]_l) :
  cov p (fun x => F x *m u^T) (fun x => v *m (G x *m c)) = inner u v *: (cov p F G *m c).
Proof.
have E m' (a : 'cV[R]_m') (b : 'rV[R]_l) : a *m u^T *m (v *m (b *m c)) = inner u v *: (a *m b *m c).
  by rewrite -mulmxA (mulmxA u^T) inner_mx mul_scalar_mx -scalemxAr mulmxA.
rewrite /cov mean_mulr mean_mull mean_mulr E mulmxBl scalerBr; congr (_ - _).
by rewrite -mean_mulr -mean_scale; apply: mean_ext => x; rewrite E.
Qed.

Lemma bar_output (x : X) :
  bar q (fun x a => two_layer slope W1 W2 (input x a)) x = \sum_k w2 W2 k *m ((gated_mean k x)^T *m w1 W1 k).
Proof.
transitivity (mean (q x) (fun a => \sum_k w2 W2 k *m ((gated_input slope W1 k (input x a))^T *m w1 W1 k))).
  by apply: mean_ext => a; apply: two_layer_sum.
rewrite /mean; under eq_bigr do rewrite scaler_sumr; rewrite exchange_big; apply: eq_bigr => k _.
rewrite -[LHS]/(mean (q x) (fun a => w2 W2 k *m ((gated_input slope W1 k (input x a))^T *m w1 W1 k))).
by rewrite mean_mull mean_mulr mean_tr.
Qed.

Lemma block_cov j : block j (cov p (bar q (fun x a => first_connection slope W1 W2 (input x a)))
    (bar q (fun x a => two_layer slope W1 W2 (input x a))))
  = \sum_k inner (w2 W2 j) (w2 W2 k) *: (gated_cov j k *m w1 W1 k).
Proof.
set F := bar q (fun x a => first_connection _ _ _ _); set f := bar q (fun x a => two_layer _ _ _ _).
have B : block j (cov p F f) = cov p (fun x => gated_mean j x *m (w2 W2 j)^T) f.
  have BF x : block j (F x) = gated_mean j x *m (w2 W2 j)^T.
    rewrite /F /bar (mean_map (q x) (f := @block R n0 n1 n2 j)) => [|u v|c v]; last 2 first.
    - exact: block_add.
    - exact: block_scale.
    by rewrite -mean_mulr; apply: mean_ext => a; apply: block_connection.
  have Bm c (H : X -> 'M[R]_(n0 * n1, c)) : block j (mean p H) = mean p (fun x => block j (H x)).
    by apply: (mean_map p (f := @block R n0 n1 c j)) => [u v|a v]; rewrite ?block_add ?block_scale.
  rewrite /cov block_add block_opp block_mul !Bm; congr (_ - _); last congr (_ *m _); apply: mean_ext => x.
    by rewrite block_mul BF.
  exact: BF.
rewrite B; have -> : cov p (fun x => gated_mean j x *m (w2 W2 j)^T) f
  = cov p (fun x => gated_mean j x *m (w2 W2 j)^T) (fun x => \sum_k w2 W2 k *m ((gated_mean k x)^T *m w1 W1 k)).
  by rewrite /cov; congr (_ - _); last congr (_ *m _); apply: mean_ext => x; rewrite /f bar_output.
by rewrite cov_sum; apply: eq_bigr => k _; rewrite cov_factors.
Qed.

(* Statement 5, block form. *)
Theorem two_layer_dynamics G1 G2 : (forall x a, active W1 (input x a)) ->
  (is_gradient loss_first W1 G1
   <-> forall j, - w1 G1 j = \sum_k inner (w2 W2 j) (w2 W2 k) *: (gated_cov j k *m w1 W1 k))
  /\ (is_gradient loss_second W2 G2 <-> - G2 = W2 *m hidden_cov).
Proof.
move=> smooth; split.
  have H := covariance_operator_general_one_branch p_total q_total
    (relu_is_connection (slope := slope) (lo := LInput R n0) (u := UAbove W2 (UTop R n2)) (W := W1) (input := input)
      (fun x a => conj (smooth x a) I)) G1.
  apply: iff_trans H _; split=> [E j|E].
    by rewrite -block_vec -block_opp E; apply: block_cov.
  by apply: block_inj => j; rewrite block_opp block_vec E -block_cov.
have H := covariance_operator_general_one_branch p_total q_total
  (relu_is_connection (slope := slope) (lo := LBelow (LInput R n0) W1) (u := UTop R n2) (W := W2) (input := input)
    (fun x a => I)) G2.
apply: iff_trans H _.
pose h x a := hidden slope W1 (input x a).
have K x a : relu_connections slope input (LBelow (LInput R n0) W1) (UTop R n2) W2 x a = kronc (h x a) 1%:M.
  by rewrite /relu_connections /relu_connection /connection activation_gated trmx1.
have E : cov p (bar q (relu_connections slope input (LBelow (LInput R n0) W1) (UTop R n2) W2))
    (bar q (relu_output slope input (LBelow (LInput R n0) W1) (UTop R n2) W2)) = vec (W2 *m hidden_cov).
  have V (u v : 'cV[R]_n1) : kronc u 1%:M *m (W2 *m v) = vec (W2 *m (v *m u^T)).
    by rewrite mulmxA -[in RHS](mul1mx W2) -vec_mul_col !mul1mx.
  have kronc_bar x : bar q (relu_connections slope input (LBelow (LInput R n0) W1) (UTop R n2) W2) x
      = kronc (hidden_mean x) 1%:M.
    rewrite /hidden_mean /bar (mean_map (q x) (f := fun v => kronc v 1%:M)) => [|u v|c v].
    - by apply: mean_ext => a; apply: K.
    - by apply/matrixP=> i j; rewrite !mxE mulrDl.
    - by apply/matrixP=> i j; rewrite !mxE mulrA.
  have f_bar x : bar q (relu_output slope input (LBelow (LInput R n0) W1) (UTop R n2) W2) x = W2 *m hidden_mean x.
    by rewrite -mean_mull; apply: mean_ext.
  have kronc_mean : mean p (fun x => kronc (hidden_mean x) 1%:M) = kronc (mean p hidden_mean) (1%:M : 'M[R]_n2).
    rewrite (mean_map p (f := fun v => kronc v 1%:M)) // => [u v|c v].
    - by apply/matrixP=> i j; rewrite !mxE mulrDl.
    - by apply/matrixP=> i j; rewrite !mxE mulrA.
  rewrite /cov /hidden_cov /cov mulmxBr vecB.
  rewrite (mean_ext p kronc_bar) (mean_ext p f_bar) kronc_mean mean_mull mean_tr.
  rewrite V -mean_mull -mean_vec; congr (_ - _).
  by apply: mean_ext => x; rewrite kronc_bar f_bar V.
by rewrite E -vecN; split=> [/vec_inj //|->].
Qed.

(* cov (B F) (G C) = B (cov F G) C *)
Lemma cov_mul k l m n o (B : 'M[R]_(k, l)) (F : X -> 'M[R]_(l, m)) (G : X -> 'M[R]_(m, n)) (C : 'M[R]_(n, o)) :
  cov p (fun x => B *m F x) (fun x => G x *m C) = B *m cov p F G *m C.
Proof.
rewrite /cov mean_mull mean_mulr mulmxBr mulmxBl !mulmxA; congr (_ - _).
by rewrite -mean_mull -mean_mulr; apply: mean_ext => x; rewrite !mulmxA.
Qed.

Lemma cov_ext m n k (F F' : X -> 'M[R]_(m, n)) (G G' : X -> 'M[R]_(n, k)) : F =1 F' -> G =1 G' ->
  cov p F G = cov p F' G'.
Proof.
move=> E E'; have EE : mean p (fun x => F x *m G x) = mean p (fun x => F' x *m G' x).
  by apply: mean_ext => x; rewrite E E'.
by rewrite /cov EE (mean_ext p E) (mean_ext p E').
Qed.

Lemma cov_entry m n k (F : X -> 'M[R]_(m, n)) (G : X -> 'M[R]_(n, k)) i j :
  cov p F G i j = cov p (fun x => row i (F x)) (fun x => col j (G x)) 0 0.
Proof.
have E (M : 'M[R]_(m, n)) (N : 'M[R]_(n, k)) : (M *m N) i j = (row i M *m col j N) 0 0.
  by rewrite !mxE; apply: eq_bigr => l _; rewrite !mxE.
have mean_row (H : X -> 'M[R]_(m, n)) : mean p (fun x => row i (H x)) = row i (mean p H).
  by symmetry; apply: (mean_map p (f := @row R m n i)) => [u v|c v]; apply/matrixP=> a b; rewrite !mxE.
have mean_col (H : X -> 'M[R]_(n, k)) : mean p (fun x => col j (H x)) = col j (mean p H).
  by symmetry; apply: (mean_map p (f := @col R n k j)) => [u v|c v]; apply/matrixP=> a b; rewrite !mxE.
rewrite /cov mean_row mean_col [LHS]mxE [RHS]mxE [X in _ + X]mxE [X in _ = _ + X]mxE E; congr (_ - _).
by rewrite !mean_entry; apply: mean_ext_num => x; rewrite E.
Qed.

(* Cov_x[E_aug f_1] at k, j is w_1k^T A_kj w_1j. *)
Lemma hidden_cov_entry k j : hidden_cov k j = ((w1 W1 k)^T *m gated_cov k j *m w1 W1 j) 0 0.
Proof.
have H x l : hidden_mean x l 0 = inner (gated_mean l x) (w1 W1 l).
  rewrite /hidden_mean /gated_mean /bar -mean_inner mean_entry; apply: mean_ext_num => a; exact: hidden_gated.
rewrite /hidden_cov cov_entry -cov_mul; congr (fun_of_matrix _ 0 0); apply: cov_ext => x.
  by apply/matrixP=> a b; rewrite (ord1 a) (ord1 b) inner_mx !mxE eqxx mulr1n H innerC.
by apply/matrixP=> a b; rewrite (ord1 a) (ord1 b) inner_mx !mxE eqxx mulr1n H.
Qed.

(* Statement 5, decoupled neurons. *)
Theorem two_layer_decoupled G1 G2 : (forall x a, active W1 (input x a)) ->
  (forall j k, j != k -> gated_cov j k = 0) ->
  (is_gradient loss_first W1 G1
   <-> forall j, - w1 G1 j = inner (w2 W2 j) (w2 W2 j) *: (gated_cov j j *m w1 W1 j))
  /\ (is_gradient loss_second W2 G2
   <-> forall j, - w2 G2 j = ((w1 W1 j)^T *m gated_cov j j *m w1 W1 j) 0 0 *: w2 W2 j).
Proof.
move=> smooth decoupled; have [H1 H2] := two_layer_dynamics G1 G2 smooth.
have one j : \sum_k inner (w2 W2 j) (w2 W2 k) *: (gated_cov j k *m w1 W1 k)
    = inner (w2 W2 j) (w2 W2 j) *: (gated_cov j j *m w1 W1 j).
  by rewrite (bigD1 j) //= big1 ?addr0 // => k ne; rewrite decoupled 1?eq_sym // mul0mx scaler0.
have two j : w2 (W2 *m hidden_cov) j = ((w1 W1 j)^T *m gated_cov j j *m w1 W1 j) 0 0 *: w2 W2 j.
  apply/matrixP=> c z; rewrite !mxE (bigD1 j) //= big1 ?addr0 => [|k ne].
    by rewrite hidden_cov_entry mulrC !mxE.
  by rewrite hidden_cov_entry decoupled // mulmx0 mul0mx !mxE mulr0.
split; first by apply: iff_trans H1 _; split=> E j; rewrite E one.
apply: iff_trans H2 _; split=> [E j|E].
  by rewrite -two -E; apply/matrixP=> c z; rewrite !mxE.
apply/matrixP=> c j; have /matrixP/(_ c 0) := E j; rewrite -two !mxE; exact.
Qed.

(* When A_jk = 0: what a neuron does not read has a gated mean that is the same for all objects, and the gated means of
   what the two neurons read are uncorrelated over the objects. *)
Definition scalar_cov (F G : X -> R) : R :=
  mean p (fun x => F x * G x : R^o) - mean p (F : X -> R^o) * mean p (G : X -> R^o).

Theorem uncorrelated_inputs j k (reads : 'I_n1 -> pred 'I_n0) :
  (forall i, ~~ reads j i -> forall x y, gated_mean j x i 0 = gated_mean j y i 0) ->
  (forall i, ~~ reads k i -> forall x y, gated_mean k x i 0 = gated_mean k y i 0) ->
  (forall i i', reads j i -> reads k i' ->
    scalar_cov (fun x => gated_mean j x i 0) (fun x => gated_mean k x i' 0) = 0) ->
  gated_cov j k = 0.
Proof.
move=> unread_j unread_k read; apply/matrixP=> i i'.
have -> : gated_cov j k i i' = scalar_cov (fun x => gated_mean j x i 0) (fun x => gated_mean k x i' 0).
  rewrite /gated_cov /cov /scalar_cov [LHS]mxE [X in _ + X]mxE; congr (_ - _).
    by rewrite mean_entry; apply: mean_ext_num => x; rewrite mxE big_ord1 mxE.
  by rewrite mxE big_ord1 !mean_entry; congr (_ * _); apply: mean_ext_num => x; rewrite mxE.
rewrite [RHS]mxE.
have const (F G : X -> R) : (forall x y, F x = F y) -> scalar_cov F G = 0 /\ scalar_cov G F = 0.
  move=> same; have Fx x : F =1 (fun _ => F x) by move=> y; apply: same.
  have E x : mean p (F : X -> R^o) = F x by rewrite (mean_ext_num p (Fx x)) mean_const.
  have EG : mean p (fun x => F x * G x : R^o) = mean p (F : X -> R^o) * mean p (G : X -> R^o).
    rewrite -[RHS]/((mean p (F : X -> R^o)) *: (mean p (G : X -> R^o))) -mean_scale.
    by apply: mean_ext_num => x; rewrite (E x).
  split; rewrite /scalar_cov ?EG ?subrr //.
  rewrite [X in _ - X]mulrC -EG; apply/eqP; rewrite subr_eq0; apply/eqP; apply: mean_ext_num => x; exact: mulrC.
case Ri: (reads j i); last by apply: (const _ _ _).1; apply: unread_j; rewrite Ri.
case Ri': (reads k i'); last by apply: (const _ _ _).2; apply: unread_k; rewrite Ri'.
exact: read.
Qed.

End Dynamics.

(* What the flow of a loss of the outputs conserves. *)
Section Conserved.

Variables (R : realFieldType) (slope : R) (n0 n1 n2 N : nat) (inputs : 'M[R]_(n0, N)).

(* The outputs for N inputs, and a loss of all of them. *)
Definition outputs (W1 : 'M[R]_(n1, n0)) (W2 : 'M[R]_(n2, n1)) : 'M[R]_(n2, N) :=
  \matrix_(c, i) two_layer slope W1 W2 (col i inputs) c 0.

Variable loss : 'M[R]_(n2, N) -> R.

(* Total differential: loss (Y + H) = loss Y + <g, H> + o(|H|). *)
Definition is_differential (Y g : 'M[R]_(n2, N)) : Prop :=
  forall e, 0 < e -> exists2 r, 0 < r & forall H : 'M[R]_(n2, N), (forall c i, `|H c i| < r) ->
    `|loss (Y + H) - loss Y - inner g H| <= e * \sum_c \sum_i `|H c i|.

Definition balance (W1 : 'M[R]_(n1, n0)) (W2 : 'M[R]_(n2, n1)) j : R :=
  inner (w1 W1 j) (w1 W1 j) - inner (w2 W2 j) (w2 W2 j).

(* One radius for finitely many conditions. *)
Lemma uniform (T : finType) (P : T -> R -> Prop) :
  (forall i, exists2 r, 0 < r & forall t, `|t| < r -> P i t) ->
  exists2 r, 0 < r & forall t, `|t| < r -> forall i, P i t.
Proof.
move=> H; suff [r pr Hr] : exists2 r, 0 < r & forall t, `|t| < r -> forall i, i \in enum T -> P i t.
  by exists r => // t small i; apply: Hr; rewrite ?mem_enum.
elim: (enum T) => [|i s [r pr Hr]]; first by exists 1; rewrite ?ltr01.
have [r' pr' Hr'] := H i; have [r0 pr0 [le le']] := smaller pr pr'.
exists r0 => // t small k; rewrite inE => /orP [/eqP ->|in_s]; first by apply: Hr'; apply: lt_le_trans le'.
by apply: Hr in_s; apply: lt_le_trans le.
Qed.

Lemma differential_chain (Y : R -> 'M[R]_(n2, N)) (g D : 'M[R]_(n2, N)) : is_differential (Y 0) g ->
  (forall c i, is_derivative (fun t => Y t c i) (D c i)) -> is_derivative (fun t => loss (Y t)) (inner g D).
Proof.
move=> dL dY e pe; pose B := \sum_c \sum_i (1 + `|D c i|).
have B_ge0 : 0 <= B by apply: sumr_ge0 => c _; apply: sumr_ge0 => i _; apply: addr_ge0.
have pB : 0 < 1 + B by apply: add_gt0.
have pe1 : 0 < e / 2%:R / (1 + B) by rewrite mulr_gt0 ?invr_gt0 // half_gt0.
have [r1 pr1 H1] := dL _ pe1.
have [r2 pr2 H2] : exists2 r, 0 < r & forall t, `|t| < r ->
    forall ci : 'I_n2 * 'I_N, `|Y t ci.1 ci.2 - Y 0 ci.1 ci.2| <= (1 + `|D ci.1 ci.2|) * `|t|.
  by apply: uniform => ci; apply: derivative_bound.
have lin : is_derivative (fun t => inner g (Y t)) (inner g D).
  rewrite innerE; apply: (derivative_ext (f := fun t => \sum_c \sum_i g c i * Y t c i)) => [t|].
    by rewrite innerE.
  by do 2!(apply: derivative_sum => ?); apply: derivative_scale.
have [r3 pr3 H3] := lin _ (half_gt0 pe).
have pr4 : 0 < r1 / (1 + B) by rewrite mulr_gt0 // invr_gt0.
have [r5 pr5 [l1 l2]] := smaller pr2 pr3; have [r pr [l3 l4]] := smaller pr5 pr4.
exists r => // t small; have small5 := lt_le_trans small l3.
have bound := H2 t (lt_le_trans small5 l1); pose H := Y t - Y 0.
have entry c i : `|H c i| <= (1 + `|D c i|) * `|t| by rewrite !mxE; apply: (bound (c, i)).
have total : \sum_c \sum_i `|H c i| <= (1 + B) * `|t|.
  rewrite mulrDl mul1r -[X in X <= _]add0r; apply: le_add => //; rewrite /B mulr_suml.
  by apply: ler_sum => c _; rewrite mulr_suml; apply: ler_sum => i _; apply: entry.
have near c i : `|H c i| < r1.
  apply: le_lt_trans (norm_bound H c i) _; apply: le_lt_trans total _.
  have -> : r1 = (1 + B) * (r1 / (1 + B)) by field; rewrite gt_eqF.
  by rewrite -subr_gt0 -mulrBr mulr_gt0 // subr_gt0; apply: lt_le_trans l4.
have := H1 H near; rewrite /H [Y 0 + _]addrC subrK -/H => E.
have -> : loss (Y t) - loss (Y 0) - t * inner g D
  = (loss (Y t) - loss (Y 0) - inner g H) + (inner g (Y t) - inner g (Y 0) - t * inner g D).
  by rewrite /H innerDr innerNr; ring.
apply: le_trans (norm_add _ _) _; have -> : e * `|t| = e / 2%:R / (1 + B) * ((1 + B) * `|t|) + e / 2%:R * `|t|.
  by field; rewrite gt_eqF.
apply: le_add; last by apply: H3; apply: lt_le_trans l2.
by apply: le_trans E _; apply: le_mul total; apply: ltW.
Qed.

Section Gradients.

Variables (W1 : 'M[R]_(n1, n0)) (W2 : 'M[R]_(n2, n1)) (g : 'M[R]_(n2, N)).
Hypothesis differential : is_differential (outputs W1 W2) g.
Hypothesis smooth : forall i, active W1 (col i inputs).

Definition first_gradient : 'M[R]_(n1, n0) :=
  unvec (\sum_i first_connection slope W1 W2 (col i inputs) *m col i g).
Definition second_gradient : 'M[R]_(n2, n1) :=
  unvec (\sum_i second_connection slope W1 W2 (col i inputs) *m col i g).

Lemma inner_outputs m (K : 'I_N -> 'M[R]_(m, n2)) (v : 'cV[R]_m) :
  inner g (\matrix_(c, i) ((K i)^T *m v) c 0) = ((\sum_i K i *m col i g)^T *m v) 0 0.
Proof.
rewrite innerE exchange_big [(\sum_i _)^T]linear_sum mulmx_suml summxE; apply: eq_bigr => i _ /=.
by rewrite trmx_mul -mulmxA mxE; apply: eq_bigr => c _; rewrite ![in LHS]mxE ![in RHS]mxE.
Qed.

Lemma first_is_gradient : is_gradient (fun V => loss (outputs V W2)) W1 first_gradient.
Proof.
move=> dW; rewrite inner_unvec -inner_outputs; apply: differential_chain => [|c i].
  by rewrite scale0r addr0.
have H := relu_is_connection (slope := slope) (lo := LInput R n0)
  (u := UAbove W2 (UTop R n2)) (W := W1)
  (input := fun (i : 'I_N) (_ : unit) => col i inputs) (fun i _ => conj (smooth i) I) i tt dW c.
by rewrite [X in is_derivative _ X]mxE; apply: derivative_ext H => t; rewrite [RHS]mxE.
Qed.

Lemma second_is_gradient : is_gradient (fun V => loss (outputs W1 V)) W2 second_gradient.
Proof.
move=> dW; rewrite inner_unvec -inner_outputs; apply: differential_chain => [|c i].
  by rewrite scale0r addr0.
have H := relu_is_connection (slope := slope) (lo := LBelow (LInput R n0) W1)
  (u := UTop R n2) (W := W2) (input := fun (i : 'I_N) (_ : unit) => col i inputs) (fun i _ => I) i tt dW c.
by rewrite [X in is_derivative _ X]mxE; apply: derivative_ext H => t; rewrite [RHS]mxE.
Qed.

(* Both gradients of a neuron make the same product with its weights: homogeneity, neuron by neuron. *)
Lemma equal_products j : inner (w1 W1 j) (w1 first_gradient j) = inner (w2 W2 j) (w2 second_gradient j).
Proof.
have L : w1 first_gradient j = \sum_i inner (w2 W2 j) (col i g) *: gated_input slope W1 j (col i inputs).
  rewrite -block_vec unvecK.
  have E (F : 'I_N -> 'cV[R]_(n0 * n1)) : block j (\sum_i F i) = \sum_i block j (F i).
    apply: (big_morph (@block R n0 n1 1 j)) => [u v|]; first exact: block_add.
    by apply/matrixP=> a b; rewrite !mxE.
  rewrite E; apply: eq_bigr => i _; rewrite block_mul block_connection -mulmxA inner_mx.
  by rewrite mul_mx_scalar.
have S : w2 second_gradient j = \sum_i hidden slope W1 (col i inputs) j 0 *: col i g.
  apply/matrixP=> c z; rewrite (ord1 z) mxE -vecE unvecK !summxE; apply: eq_bigr => i _.
  rewrite second_connectionE mxE (bigD1 c) //= big1 ?addr0 => [|l ne].
    by rewrite kroncE [1%:M c c]mxE eqxx mulr1 [RHS]mxE.
  by rewrite kroncE [1%:M c l]mxE eq_sym (negPf ne) mulr0 mul0r.
have dist m (I : finType) (u : 'cV[R]_m) (F : I -> 'cV[R]_m) : inner u (\sum_i F i) = \sum_i inner u (F i).
  apply: (big_morph (inner u)) => [a b|]; first exact: innerDr.
  by rewrite -(scale0r (0 : 'cV[R]_m)) innerZr mul0r.
rewrite L S !dist; apply: eq_bigr => i _.
by rewrite [LHS]innerZr [RHS]innerZr hidden_gated mulrC [inner (gated_input _ _ _ _) _]innerC.
Qed.

End Gradients.

Lemma balance_line W1 W2 G1 G2 j t : balance (W1 - t *: G1) (W2 - t *: G2) j = balance W1 W2 j
  - t * (2%:R * (inner (w1 W1 j) (w1 G1 j) - inner (w2 W2 j) (w2 G2 j))) + t ^+ 2 * balance G1 G2 j.
Proof.
have E1 : w1 (W1 - t *: G1) j = w1 W1 j + (- t) *: w1 G1 j by apply/matrixP=> a b; rewrite !mxE mulNr.
have E2 : w2 (W2 - t *: G2) j = w2 W2 j + (- t) *: w2 G2 j by apply/matrixP=> a b; rewrite !mxE mulNr.
by rewrite /balance E1 E2 !inner_line; ring.
Qed.

(* Along a curve that descends both gradients the balance of every neuron has the derivative 0. *)
Theorem two_layer_conserved (U1 : R -> 'M[R]_(n1, n0)) (U2 : R -> 'M[R]_(n2, n1)) t g G1 G2 :
  is_differential (outputs (U1 t) (U2 t)) g -> (forall i, active (U1 t) (col i inputs)) ->
  is_gradient (fun V => loss (outputs V (U2 t))) (U1 t) G1 ->
  is_gradient (fun V => loss (outputs (U1 t) V)) (U2 t) G2 ->
  (forall j i, is_derivative (fun s => U1 (t + s) j i) (- G1 j i)) ->
  (forall c j, is_derivative (fun s => U2 (t + s) c j) (- G2 c j)) ->
  forall j, is_derivative (fun s => balance (U1 (t + s)) (U2 (t + s)) j) 0.
Proof.
move=> dL act grad1 grad2 flow1 flow2 j.
have E1 := gradient_unique grad1 (first_is_gradient dL act); have E2 := gradient_unique grad2 (second_is_gradient dL).
have D1 := derivative_sum (index_enum _) (fun i => derivative_square (flow1 j i)).
have D2 := derivative_sum (index_enum _) (fun c => derivative_square (flow2 c j)).
have -> : 0 = \sum_i 2%:R * U1 (t + 0) j i * - G1 j i - \sum_c 2%:R * U2 (t + 0) c j * - G2 c j.
  have S1 : \sum_i 2%:R * U1 (t + 0) j i * - G1 j i = - (2%:R * inner (w1 (U1 t) j) (w1 G1 j)).
    rewrite innerE mulr_sumr -sumrN; apply: eq_bigr => i _; rewrite big_ord1 !mxE addr0; ring.
  have S2 : \sum_c 2%:R * U2 (t + 0) c j * - G2 c j = - (2%:R * inner (w2 (U2 t) j) (w2 G2 j)).
    rewrite innerE mulr_sumr -sumrN; apply: eq_bigr => i _; rewrite big_ord1 !mxE addr0; ring.
  by rewrite S1 S2 E1 E2 (equal_products (U1 t) (U2 t) g j) subrr.
apply: derivative_ext (derivative_sub D1 D2) => s; rewrite /balance !innerE.
by congr (_ - _); apply: eq_bigr => i _; rewrite big_ord1 !mxE expr2.
Qed.

(* A step of descent with rate eta. *)
Theorem two_layer_step W1 W2 g G1 G2 eta :
  is_differential (outputs W1 W2) g -> (forall i, active W1 (col i inputs)) ->
  is_gradient (fun V => loss (outputs V W2)) W1 G1 -> is_gradient (fun V => loss (outputs W1 V)) W2 G2 ->
  forall j, balance (W1 - eta *: G1) (W2 - eta *: G2) j = balance W1 W2 j + eta ^+ 2 * balance G1 G2 j.
Proof.
move=> dL act grad1 grad2 j.
have E1 := gradient_unique grad1 (first_is_gradient dL act); have E2 := gradient_unique grad2 (second_is_gradient dL).
by rewrite balance_line E1 E2 equal_products subrr mulr0 mulr0 subr0.
Qed.

End Conserved.
