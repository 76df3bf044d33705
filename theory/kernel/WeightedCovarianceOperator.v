(* Statement 4 (weighted-covariance-operator), arXiv 2010.00578 Theorem 4: the expected update of a loss of r_+ - r_-.

     - E[grad_W L] = V^xi_{x,x'}[Kbar(x) - Kbar(x')] vec W + theta,     xi = dL/dr_+

   with xi at the distance of the augmentation means, over every finite population, shared convention; one branch has
   half of the first term.  The general form E[xi (Kbar - Kbar')(fbar - fbar')] + theta holds for every differentiable
   network.  theta is written out, and it is
   of second order in the spread of the augmentation: |theta| <= C s^2 where K = Kbar + s kappa and f = fbar + s phi.
   Theorems: weighted_covariance_operator, weighted_covariance_operator_one_branch (ReLU towers),
   weighted_covariance_operator_general (and _one_branch), residue_second_order.
   Page: docs/mathematics/weighted-covariance-operator.md.

   The loss is L = ell (r_+ - r_-), as the soft triplet loss and InfoNCE with one negative are. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec Gradient DualGradient Relu Population CovarianceOperator.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Statement.

Variables (R : realFieldType) (X A : finType) (p : X -> R) (q : X -> A -> R).
Hypothesis p_total : \sum_x p x = 1.
Hypothesis q_total : forall x, \sum_a q x a = 1.

(* The loss, and its pair weight: xi r = dL/dr_+ where r_- - r_+ = r. *)
Variables (ell xi : R -> R).
Hypothesis xi_derivative : forall r, is_derivative (fun s => ell (- r + s)) (xi r).

Section Loss.

Variables (h n m : nat) (f : 'M[R]_(h, n) -> X -> A -> 'cV[R]_m).

(* E[ell (r_+ - r_-)] *)
Definition expected_loss (V : 'M[R]_(h, n)) : R :=
  expect p q (fun x x' a1 ap am =>
    ell (distance (f V x a1) (f V x ap) - distance (f V x a1) (f V x' am)) : R^o).

(* The same with the weights V in the tower of x_1 alone, W in those of x_+ and x_-. *)
Definition expected_loss_one_branch (W V : 'M[R]_(h, n)) : R :=
  expect p q (fun x x' a1 ap am =>
    ell (distance (f V x a1) (f W x ap) - distance (f V x a1) (f W x' am)) : R^o).

End Loss.

Section Residue.

Variables (N m k : nat) (K : X -> A -> 'M[R]_(N, m)) (f : X -> A -> 'cV[R]_m).

(* r_- - r_+ of a draw, and the distance of the augmentation means. *)
Definition excess x x' a1 ap am : R := distance (f x a1) (f x' am) - distance (f x a1) (f x ap).
Definition mean_distance x x' : R := distance (bar q f x) (bar q f x').

(* What is left over when xi is taken at the distance of the means. *)
Definition theta : 'cV[R]_N := expect p q (fun x x' a1 ap am =>
  (xi (excess x x' a1 ap am) - xi (mean_distance x x')) *: update K f x x' a1 ap am).

Definition theta_one_branch : 'cV[R]_N := expect p q (fun x x' a1 ap am =>
  (xi (excess x x' a1 ap am) - xi (mean_distance x x')) *: update_one_branch K f x x' a1 ap am).

(* E[xi (Kbar - Kbar')(fbar - fbar')] *)
Definition leading : 'cV[R]_N := pairs p (fun x x' =>
  xi (mean_distance x x') *: ((bar q K x - bar q K x') *m (bar q f x - bar q f x'))).

(* V^xi_{x,x'}[Kbar(x) - Kbar(x')] *)
Definition weighted_variance : 'M[R]_N := pairs p (fun x x' =>
  xi (mean_distance x x') *: ((bar q K x - bar q K x') *m (bar q K x - bar q K x')^T)).

Lemma distanceC (u v : 'cV[R]_m) : distance u v = distance v u.
Proof. by rewrite /distance -[in RHS]opprB innerNl innerNr opprK. Qed.

Lemma frozen_weights :
  expect p q (fun x x' a1 ap am => xi (excess x x' a1 ap am) *: update K f x x' a1 ap am) = leading + theta.
Proof.
rewrite /leading -(expect_weighted p q_total K f (c := fun x x' => xi (mean_distance x x'))) => [|x x'].
  by rewrite /theta -expect_add; apply: expect_ext => *; rewrite -scalerDl addrC subrK.
by rewrite /mean_distance distanceC.
Qed.

Lemma frozen_weights_one_branch :
  expect p q (fun x x' a1 ap am => xi (excess x x' a1 ap am) *: update_one_branch K f x x' a1 ap am)
  = 2%:R^-1 *: leading + theta_one_branch.
Proof.
rewrite /leading -(expect_weighted_one_branch p q_total K f (c := fun x x' => xi (mean_distance x x'))) => [|x x'].
  rewrite -scaler_nat scalerA mulVf ?pnatr_eq0 // scale1r.
  by rewrite /theta_one_branch -expect_add; apply: expect_ext => *; rewrite -scalerDl addrC subrK.
by rewrite /mean_distance distanceC.
Qed.

End Residue.

Section General.

Variables (h n m : nat) (f : 'M[R]_(h, n) -> X -> A -> 'cV[R]_m) (W : 'M[R]_(h, n)).
Variable K : X -> A -> 'M[R]_(n * h, m).
Hypothesis connected : forall x a, is_connection (fun V => f V x a) W (K x a).

Lemma gradient_chain (F : 'M[R]_(h, n) -> R) G : is_gradient F W G ->
  is_gradient (fun V => ell (F V)) W (xi (- F W) *: G).
Proof.
move=> H dW; rewrite innerZl; apply: (derivative_comp (g := ell) (H dW)).
by have := xi_derivative (- F W); rewrite opprK scale0r addr0.
Qed.

Theorem weighted_covariance_operator_general G :
  is_gradient (expected_loss f) W G <-> - vec G = leading K (f W) + theta K (f W).
Proof.
pose D x a y c := unvec ((K x a - K y c) *m (f W x a - f W y c)).
have H := gradient_expect p q (fun x x' a1 ap am => gradient_chain (gradient_sub
  (distance_connection (connected x a1) (connected x ap)) (distance_connection (connected x a1) (connected x' am)))).
apply: iff_trans (gradient_iff _ H) _; rewrite -frozen_weights.
set E := expect p q _; set E' := expect p q _; suff -> : E' = - vec E by split=> [->//|/oppr_inj/vec_inj].
rewrite vec_expect -expect_opp; apply: expect_ext => x x' a1 ap am.
by rewrite vecZ vecB !unvecK opprB -scalerN opprB.
Qed.

(* One branch: half of the leading term. *)
Theorem weighted_covariance_operator_general_one_branch G :
  is_gradient (expected_loss_one_branch f W) W G
  <-> - vec G = 2%:R^-1 *: leading K (f W) + theta_one_branch K (f W).
Proof.
pose D x a y c := unvec ((K x a - 0) *m (f W x a - f W y c)).
have H := gradient_expect p q (fun x x' a1 ap am => gradient_chain (gradient_sub
  (distance_connection (connected x a1) (connection_const (f W x ap) W))
  (distance_connection (connected x a1) (connection_const (f W x' am) W)))).
apply: iff_trans (gradient_iff _ H) _; rewrite -frozen_weights_one_branch.
set E := expect p q _; set E' := expect p q _; suff -> : E' = - vec E by split=> [->//|/oppr_inj/vec_inj].
rewrite vec_expect -expect_opp; apply: expect_ext => x x' a1 ap am.
by rewrite vecZ vecB !unvecK !subr0 opprB -scalerN opprB.
Qed.

Hypothesis homogeneous : forall x a, f W x a = (K x a)^T *m vec W.

Lemma leading_is_operator : leading K (f W) = weighted_variance K (f W) *m vec W.
Proof.
have B x : bar q (f W) x = (bar q K x)^T *m vec W.
  by rewrite -mean_tr -mean_mulr; apply: mean_ext => a; apply: homogeneous.
rewrite /leading /weighted_variance (pairs_map p (f := fun M => M *m vec W)) => [|u v|c v]; last 2 first.
- by rewrite mulmxDl.
- by rewrite scalemxAl.
apply: pairs_ext => x x'; rewrite -scalemxAl -mulmxA; congr (_ *: (_ *m _)).
by rewrite !B linearB mulmxBl.
Qed.

End General.

(* (Leaky) ReLU towers with their own gates. *)
Section Relu.

Variables (slope : R) (n0 n h m : nat) (input : X -> A -> 'cV[R]_n0) (lo : lower R n0 n) (u : upper R m h).
Variable W : 'M[R]_(h, n).
Hypothesis smooth : forall x a, smooth_at slope lo u W (input x a).

Theorem weighted_covariance_operator G :
  let f := relu_output slope input lo u in
  let K := relu_connections slope input lo u W in
  is_gradient (expected_loss f) W G <-> - vec G = weighted_variance K (f W) *m vec W + theta K (f W).
Proof.
move=> f K; rewrite -leading_is_operator => [|x a]; last by rewrite /f /relu_output -relu_key_identity.
exact: weighted_covariance_operator_general (relu_is_connection smooth) G.
Qed.

Theorem weighted_covariance_operator_one_branch G :
  let f := relu_output slope input lo u in
  let K := relu_connections slope input lo u W in
  is_gradient (expected_loss_one_branch f W) W G
  <-> - vec G = 2%:R^-1 *: (weighted_variance K (f W) *m vec W) + theta_one_branch K (f W).
Proof.
move=> f K; rewrite -leading_is_operator => [|x a]; last by rewrite /f /relu_output -relu_key_identity.
exact: weighted_covariance_operator_general_one_branch (relu_is_connection smooth) G.
Qed.

End Relu.

End Statement.

(* Functions of s with values in matrices that are O(s^2) for |s| <= 1. *)
Section Small.

Variable R : realFieldType.

Definition second_order m n (F : R -> 'M[R]_(m, n)) : Prop :=
  exists C, forall s, `|s| <= 1 -> forall i j, `|F s i j| <= C * s ^+ 2.

Lemma second_order_ext m n (F G : R -> 'M[R]_(m, n)) : F =1 G -> second_order F -> second_order G.
Proof. by move=> E [C H]; exists C => s le i j; rewrite -E; apply: H. Qed.

Lemma second_order_add m n (F G : R -> 'M[R]_(m, n)) :
  second_order F -> second_order G -> second_order (fun s => F s + G s).
Proof.
move=> [C H] [D H']; exists (C + D) => s le i j; rewrite mxE mulrDl.
by apply: le_trans (norm_add _ _) _; apply: le_add; [apply: H|apply: H'].
Qed.

Lemma second_order_scale m n c (F : R -> 'M[R]_(m, n)) : second_order F -> second_order (fun s => c *: F s).
Proof.
move=> [C H]; exists (`|c| * C) => s le i j; rewrite mxE normrM -mulrA.
by apply: le_mul => //; apply: H.
Qed.

Lemma second_order_mean (T : finType) (w : T -> R) m n (F : T -> R -> 'M[R]_(m, n)) :
  (forall t, second_order (F t)) -> second_order (fun s => mean w (fun t => F t s)).
Proof.
move=> H; rewrite /mean; elim: (index_enum T) => [|t r IH].
  by exists 0 => s _ i j; rewrite big_nil mxE normr0 mul0r.
apply: (second_order_ext (F := fun s => w t *: F t s + \sum_(i <- r) w i *: F i s)) => [s|].
  by rewrite big_cons.
by apply: second_order_add => //; apply: second_order_scale.
Qed.

Lemma square_norm (s : R) : s ^+ 2 = `|s| * `|s|.
Proof. by rewrite -normrM -expr2 ger0_norm ?sqr_ge0. Qed.

(* (s d + O(s^2)) (U0 + s U1 + s^2 U2) = s d U0 + O(s^2) *)
Lemma second_order_product m n (D : R -> R) (d : R) (U0 U1 U2 : 'M[R]_(m, n)) :
  (exists C : R, forall s, `|s| <= 1 -> `|D s - s * d| <= C * s ^+ 2) ->
  second_order (fun s => D s *: (U0 + s *: U1 + s ^+ 2 *: U2) - (s * d) *: U0).
Proof.
move=> [C H]; pose B (M : 'M[R]_(m, n)) : R := \sum_(i < m) \sum_(j < n) `|M i j|.
have B_ge0 M : 0 <= B M by apply: sumr_ge0 => i _; apply: sumr_ge0.
exists (C * (B U0 + B U1 + B U2) + `|d| * (B U1 + B U2)) => s le i j; rewrite !mxE.
have -> : D s * (U0 i j + s * U1 i j + s ^+ 2 * U2 i j) - s * d * U0 i j
  = (D s - s * d) * (U0 i j + s * U1 i j + s ^+ 2 * U2 i j) + s ^+ 2 * (d * (U1 i j + s * U2 i j)) by ring.
have le_s (x y : R) : `|x| <= y -> `|s * x| <= y.
  by move=> xy; rewrite normrM; apply: le_trans xy; rewrite -[X in _ <= X]mul1r; apply: le_mulr.
have bound1 : `|U1 i j + s * U2 i j| <= B U1 + B U2.
  by apply: le_trans (norm_add _ _) _; apply: le_add; [|apply: le_s]; apply: norm_bound.
have bound0 : `|U0 i j + s * U1 i j + s ^+ 2 * U2 i j| <= B U0 + B U1 + B U2.
  apply: le_trans (norm_add _ _) _; apply: le_add; last by rewrite expr2 -mulrA; apply: (le_s); apply: (le_s);
    apply: norm_bound.
  by apply: le_trans (norm_add _ _) _; apply: le_add; [|apply: le_s]; apply: norm_bound.
apply: le_trans (norm_add _ _) _; rewrite [X in _ <= X]mulrDl; apply: le_add.
  rewrite normrM [X in _ <= X]mulrAC; apply: (le_mul2 _ _ (H s le) bound0); exact: normr_ge0.
rewrite normrM ger0_norm ?sqr_ge0 // mulrC; apply: le_mulr; first exact: sqr_ge0.
by rewrite normrM; apply: le_mul.
Qed.

End Small.

Section Order.

Variables (R : realFieldType) (X A : finType) (p : X -> R) (q : X -> A -> R).
Hypothesis q_total : forall x, \sum_a q x a = 1.

(* xi is twice differentiable with a bounded second derivative: its first-order expansion has a quadratic error. *)
Variables (xi xi' : R -> R) (M : R).
Hypothesis xi_expansion : forall r d, `|xi (r + d) - xi r - d * xi' r| <= M * d ^+ 2.

(* Means and deviations of connection and output; that kappa has mean zero is not used. *)
Variables (N m : nat) (Kbar : X -> 'M[R]_(N, m)) (fbar : X -> 'cV[R]_m).
Variables (kappa : X -> A -> 'M[R]_(N, m)) (phi : X -> A -> 'cV[R]_m).
Hypothesis phi_zero : forall x, bar q phi x = 0.

Definition spread_connection s x a := Kbar x + s *: kappa x a.
Definition spread_output s x a := fbar x + s *: phi x a.

Lemma bar_spread s x : bar q (spread_output s) x = fbar x.
Proof. by rewrite /bar /spread_output mean_add mean_const // mean_scale [mean _ _]phi_zero scaler0 addr0. Qed.

Lemma mean_distance_spread s x x' : mean_distance q (spread_output s) x x' = distance (fbar x) (fbar x').
Proof. by rewrite /mean_distance !bar_spread. Qed.

Let slope x x' (a1 am : A) : R := inner (fbar x - fbar x') (phi x a1 - phi x' am).
Let curve x x' (a1 ap am : A) : R :=
  2%:R^-1 * (inner (phi x a1 - phi x' am) (phi x a1 - phi x' am) - inner (phi x a1 - phi x ap) (phi x a1 - phi x ap)).

Lemma excess_spread s x x' a1 ap am : excess (spread_output s) x x' a1 ap am
  = distance (fbar x) (fbar x') + (s * slope x x' a1 am + s ^+ 2 * curve x x' a1 ap am).
Proof.
have splitE y c : spread_output s x a1 - spread_output s y c = (fbar x - fbar y) + s *: (phi x a1 - phi y c).
  by rewrite /spread_output opprD addrACA -scalerBr.
rewrite /excess /distance !splitE subrr add0r inner_line innerZl innerZr /slope /curve; by field.
Qed.

Lemma given_slope x x' : given q x x' (fun a1 _ am => slope x x' a1 am : R^o) = 0.
Proof.
pose D : 'cV[R]_m := given q x x' (fun a1 _ am => phi x a1 - phi x' am).
have -> : given q x x' (fun a1 _ am => slope x x' a1 am : R^o) = inner D (fbar x - fbar x').
  rewrite (given_map q (f := fun v : 'cV[R]_m => inner v (fbar x - fbar x') : R^o)) => [|u v|c v].
  - by apply: given_ext => *; rewrite /slope innerC.
  - exact: innerDl.
  - exact: innerZl.
have -> : D = 0.
  rewrite /D given_add given_opp (given_first q_total x x' (phi x)) (given_minus q_total x x' (phi x')).
  by have := phi_zero x; have := phi_zero x'; rewrite /bar => -> ->; rewrite subr0.
by rewrite innerC -[0](scale0r (0 : 'cV[R]_m)) innerZr mul0r.
Qed.

Let U1 x x' (a1 ap am : A) : 'cV[R]_N := (Kbar x - Kbar x') *m (phi x a1 - phi x' am)
  + (kappa x a1 - kappa x' am) *m (fbar x - fbar x').
Let U2 x x' (a1 ap am : A) : 'cV[R]_N := (kappa x a1 - kappa x' am) *m (phi x a1 - phi x' am)
  - (kappa x a1 - kappa x ap) *m (phi x a1 - phi x ap).

Lemma update_spread s x x' a1 ap am : update (spread_connection s) (spread_output s) x x' a1 ap am
  = (Kbar x - Kbar x') *m (fbar x - fbar x') + s *: U1 x x' a1 ap am + s ^+ 2 *: U2 x x' a1 ap am.
Proof.
have fs y c : spread_output s x a1 - spread_output s y c = (fbar x - fbar y) + s *: (phi x a1 - phi y c).
  by rewrite /spread_output opprD addrACA -scalerBr.
have Ks y c : spread_connection s x a1 - spread_connection s y c = (Kbar x - Kbar y) + s *: (kappa x a1 - kappa y c).
  by rewrite /spread_connection opprD addrACA -scalerBr.
rewrite /update !fs !Ks !subrr !add0r /U1 /U2.
move: (Kbar x - _) (fbar x - _) (kappa x a1 - kappa x' am) (phi x a1 - phi x' am) => dK df k1 p1.
move: (kappa x a1 - _) (phi x a1 - _) => k2 p2.
rewrite !mulmxDl !mulmxDr -!scalemxAl -!scalemxAr.
by rewrite scalerBr scalerDr !scalerA -expr2 !addrA.
Qed.

(* theta = O(s^2) *)
Theorem residue_second_order :
  second_order (fun s => theta p q xi (spread_connection s) (spread_output s)).
Proof.
pose d x x' a1 am := xi' (distance (fbar x) (fbar x')) * slope x x' a1 am.
pose U0 x x' := (Kbar x - Kbar x') *m (fbar x - fbar x').
have linear s : expect p q (fun x x' a1 _ am => (s * d x x' a1 am) *: U0 x x') = 0.
  transitivity (pairs p (fun _ _ : X => 0 : 'cV[R]_N)); last first.
    by rewrite -[RHS](mean0 p); apply: mean_ext => x; rewrite mean0.
  apply: pairs_ext => x x'; pose c := s * xi' (distance (fbar x) (fbar x')).
  transitivity ((c * given q x x' (fun a1 _ am => slope x x' a1 am : R^o)) *: U0 x x').
    rewrite (given_map q (f := fun v : R^o => (c * v) *: U0 x x')) => [|u v|e v].
    - by apply: given_ext => *; rewrite /d /c mulrA.
    - by rewrite mulrDr scalerDl.
    - by rewrite scalerA mulrCA.
  by rewrite given_slope mulr0 scale0r.
apply: (second_order_ext (F := fun s => expect p q (fun x x' a1 ap am =>
  (xi (distance (fbar x) (fbar x') + (s * slope x x' a1 am + s ^+ 2 * curve x x' a1 ap am))
    - xi (distance (fbar x) (fbar x'))) *: (U0 x x' + s *: U1 x x' a1 ap am + s ^+ 2 *: U2 x x' a1 ap am)
  - (s * d x x' a1 am) *: U0 x x'))) => [s|].
  rewrite expect_add expect_opp linear subr0 /theta; apply: expect_ext => x x' a1 ap am.
  by rewrite excess_spread mean_distance_spread update_spread.
do 5!(apply: second_order_mean => ?); apply: second_order_product; rewrite /d.
move: (distance _ _) (slope _ _ _ _) (curve _ _ _ _ _) => r u1 u2.
exists (M * (`|u1| + `|u2|) ^+ 2 + `|xi' r| * `|u2|) => s le.
set e := s * u1 + s ^+ 2 * u2.
have -> : xi (r + e) - xi r - s * (xi' r * u1) = (xi (r + e) - xi r - e * xi' r) + s ^+ 2 * (xi' r * u2).
  by rewrite /e; ring.
apply: le_trans (norm_add _ _) _; rewrite mulrDl; apply: le_add; last first.
  by rewrite normrM ger0_norm ?sqr_ge0 // normrM mulrC.
apply: le_trans (xi_expansion r e) _; rewrite -mulrA; apply: le_mul.
  by have := le_trans (normr_ge0 _) (xi_expansion 0 1); rewrite expr1n mulr1.
have le_e : `|e| <= (`|u1| + `|u2|) * `|s|.
  apply: le_trans (norm_add _ _) _; rewrite mulrDl; apply: le_add; first by rewrite normrM mulrC.
  rewrite expr2 -mulrA normrM mulrC; apply: le_mulr => //; rewrite normrM -[X in _ <= X]mul1r.
  exact: le_mulr.
by rewrite [e ^+ 2]square_norm [s ^+ 2]square_norm expr2 mulrACA; apply: le_mul2.
Qed.

End Order.
