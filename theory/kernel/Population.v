(* Finite populations: expectations, augmentation means and covariances as finite sums.

     x, x' ~ p;  x_1, x_+ ~ q x given x;  x_- ~ q x'        Cov_x[F, G] = E[F G] - E[F] E[G]

   Theorem: expect_update (the expected product of connection and output differences, point by point).
   Page: docs/mathematics/conventions.md.

   A point x of X has the augmentations a of A with the weights q x a; F x a is what a network makes of
   augmentation a of x.  Weights may be negative here: the identities use only that they sum to 1. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec Gradient.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Mean.

Variables (R : comRingType) (T : finType) (w : T -> R).

(* E F = sum_t w_t F_t, for numbers (V = R^o) and matrices. *)
Definition mean (V : lmodType R) (F : T -> V) : V := \sum_t w t *: F t.

Lemma mean_ext (V : lmodType R) (F G : T -> V) : F =1 G -> mean F = mean G.
Proof. by move=> E; apply: eq_bigr => t _; rewrite E. Qed.

(* For numbers. *)
Lemma mean_ext_num (F G : T -> R) : F =1 G -> mean (F : T -> R^o) = mean (G : T -> R^o).
Proof. by move=> E; apply: eq_bigr => t _; rewrite E. Qed.

Lemma mean_add (V : lmodType R) (F G : T -> V) : mean (fun t => F t + G t) = mean F + mean G.
Proof. by rewrite /mean -big_split; apply: eq_bigr => t _; rewrite scalerDr. Qed.

(* Expectations and linear maps commute. *)
Lemma mean_map (V U : lmodType R) (f : V -> U) (F : T -> V) :
  (forall u v, f (u + v) = f u + f v) -> (forall c v, f (c *: v) = c *: f v) -> f (mean F) = mean (fun t => f (F t)).
Proof.
move=> fD fZ; have f0 : f 0 = 0 by rewrite -(scale0r (0 : V)) fZ scale0r.
by rewrite /mean (big_morph f fD f0); apply: eq_bigr => t _; rewrite fZ.
Qed.

Lemma mean_opp (V : lmodType R) (F : T -> V) : mean (fun t => - F t) = - mean F.
Proof. by symmetry; apply: (mean_map (f := -%R)) => [u v|c v]; rewrite ?opprD ?scalerN. Qed.

Lemma mean_sub (V : lmodType R) (F G : T -> V) : mean (fun t => F t - G t) = mean F - mean G.
Proof. by rewrite mean_add mean_opp. Qed.

Lemma mean_scale (V : lmodType R) c (F : T -> V) : mean (fun t => c *: F t) = c *: mean F.
Proof.
by symmetry; apply: (mean_map (f := fun v => c *: v)) => [u v|d v]; rewrite ?scalerDr // !scalerA mulrC.
Qed.

Lemma mean_mull m n k (B : 'M[R]_(k, m)) (F : T -> 'M[R]_(m, n)) : mean (fun t => B *m F t) = B *m mean F.
Proof. by symmetry; apply: (mean_map (f := mulmx B)) => [u v|c v]; rewrite ?mulmxDr ?scalemxAr. Qed.

Lemma mean_mulr m n k (F : T -> 'M[R]_(m, n)) (B : 'M[R]_(n, k)) : mean (fun t => F t *m B) = mean F *m B.
Proof. by symmetry; apply: (mean_map (f := fun M => M *m B)) => [u v|c v]; rewrite ?mulmxDl ?scalemxAl. Qed.

Lemma mean_tr m n (F : T -> 'M[R]_(m, n)) : mean (fun t => (F t)^T) = (mean F)^T.
Proof. by symmetry; apply: (mean_map (f := trmx)) => [u v|c v]; rewrite ?linearD ?linearZ. Qed.

Lemma mean_vec m n (F : T -> 'M[R]_(m, n)) : mean (fun t => vec (F t)) = vec (mean F).
Proof. by symmetry; apply: (mean_map (f := @vec R m n)) => [u v|c v]; rewrite ?vecD ?vecZ. Qed.

Lemma mean_inner m n (F : T -> 'M[R]_(m, n)) B : mean (fun t => inner (F t) B : R^o) = inner (mean F) B.
Proof.
by symmetry; apply: (mean_map (f := fun M => inner M B : R^o)) => [u v|c v]; rewrite ?innerDl // innerZl.
Qed.

Lemma mean_entry m n (F : T -> 'M[R]_(m, n)) i j : mean F i j = mean (fun t => F t i j : R^o).
Proof. by apply: (mean_map (f := fun M : 'M[R]_(m, n) => M i j : R^o)) => [u v|c v]; rewrite mxE. Qed.

Lemma mean0 (V : lmodType R) : mean (fun _ => 0 : V) = 0.
Proof. by rewrite /mean big1 // => t _; rewrite scaler0. Qed.

Hypothesis total : \sum_t w t = 1.

Lemma mean_const (V : lmodType R) (v : V) : mean (fun _ => v) = v.
Proof. by rewrite /mean -scaler_suml total scale1r. Qed.

End Mean.

Lemma mean_swap (R : comRingType) (S T : finType) (v : S -> R) (w : T -> R) (V : lmodType R) (F : S -> T -> V) :
  mean v (fun s => mean w (F s)) = mean w (fun t => mean v (fun s => F s t)).
Proof.
rewrite /mean; under eq_bigr do rewrite scaler_sumr; rewrite exchange_big /=.
apply: eq_bigr => t _; rewrite scaler_sumr; apply: eq_bigr => s _; by rewrite !scalerA mulrC.
Qed.

Section Population.

Variables (R : comRingType) (X A : finType) (p : X -> R) (q : X -> A -> R).

(* E over x_1, x_+ given x and x_- given x'. *)
Definition given (V : lmodType R) (x x' : X) (F : A -> A -> A -> V) : V :=
  mean (q x) (fun a1 => mean (q x) (fun ap => mean (q x') (fun am => F a1 ap am))).

(* E over pairs of independent points. *)
Definition pairs (V : lmodType R) (F : X -> X -> V) : V := mean p (fun x => mean p (fun x' => F x x')).

(* E over a draw: two points, two augmentations of the first and one of the second. *)
Definition expect (V : lmodType R) (F : X -> X -> A -> A -> A -> V) : V := pairs (fun x x' => given x x' (F x x')).

(* Mean over augmentations. *)
Definition bar (V : lmodType R) (F : X -> A -> V) (x : X) : V := mean (q x) (F x).

Definition cov m n k (F : X -> 'M[R]_(m, n)) (G : X -> 'M[R]_(n, k)) : 'M[R]_(m, k) :=
  mean p (fun x => F x *m G x) - mean p F *m mean p G.

Lemma pairs_ext (V : lmodType R) (F G : X -> X -> V) : (forall x x', F x x' = G x x') -> pairs F = pairs G.
Proof. by move=> E; do 2!(apply: mean_ext => ?). Qed.

Lemma given_ext (V : lmodType R) x x' (F G : A -> A -> A -> V) :
  (forall a1 ap am, F a1 ap am = G a1 ap am) -> given x x' F = given x x' G.
Proof. by move=> E; do 3!(apply: mean_ext => ?). Qed.

Lemma expect_ext (V : lmodType R) (F G : X -> X -> A -> A -> A -> V) :
  (forall x x' a1 ap am, F x x' a1 ap am = G x x' a1 ap am) -> expect F = expect G.
Proof. by move=> E; apply: pairs_ext => x x'; apply: given_ext => a1 ap am; apply: E. Qed.

Lemma pairs_map (V U : lmodType R) (f : V -> U) (F : X -> X -> V) :
  (forall u v, f (u + v) = f u + f v) -> (forall c v, f (c *: v) = c *: f v) ->
  f (pairs F) = pairs (fun x x' => f (F x x')).
Proof. by move=> fD fZ; do 2!(rewrite mean_map //; apply: mean_ext => ?). Qed.

Lemma given_map (V U : lmodType R) (f : V -> U) x x' (F : A -> A -> A -> V) :
  (forall u v, f (u + v) = f u + f v) -> (forall c v, f (c *: v) = c *: f v) ->
  f (given x x' F) = given x x' (fun a1 ap am => f (F a1 ap am)).
Proof. by move=> fD fZ; do 3!(rewrite mean_map //; apply: mean_ext => ?). Qed.

Lemma expect_map (V U : lmodType R) (f : V -> U) (F : X -> X -> A -> A -> A -> V) :
  (forall u v, f (u + v) = f u + f v) -> (forall c v, f (c *: v) = c *: f v) ->
  f (expect F) = expect (fun x x' a1 ap am => f (F x x' a1 ap am)).
Proof. by move=> fD fZ; rewrite /expect pairs_map //; apply: pairs_ext => x x'; rewrite given_map. Qed.

Lemma pairs_add (V : lmodType R) (F G : X -> X -> V) : pairs (fun x x' => F x x' + G x x') = pairs F + pairs G.
Proof. by rewrite /pairs -mean_add; apply: mean_ext => x; rewrite mean_add. Qed.

Lemma pairs_opp (V : lmodType R) (F : X -> X -> V) : pairs (fun x x' => - F x x') = - pairs F.
Proof. by symmetry; apply: (pairs_map (f := -%R)) => [u v|c v]; rewrite ?opprD ?scalerN. Qed.

Lemma pairs_swap (V : lmodType R) (F : X -> X -> V) : pairs (fun x x' => F x' x) = pairs F.
Proof. exact: mean_swap. Qed.

Lemma given_add (V : lmodType R) x x' (F G : A -> A -> A -> V) :
  given x x' (fun a b c => F a b c + G a b c) = given x x' F + given x x' G.
Proof.
rewrite /given -mean_add; apply: mean_ext => a; rewrite -mean_add; apply: mean_ext => b.
by rewrite mean_add.
Qed.

Lemma given_opp (V : lmodType R) x x' (F : A -> A -> A -> V) : given x x' (fun a b c => - F a b c) = - given x x' F.
Proof. by symmetry; apply: (given_map (f := -%R)) => [u v|c v]; rewrite ?opprD ?scalerN. Qed.

Lemma expect_add (V : lmodType R) (F G : X -> X -> A -> A -> A -> V) :
  expect (fun x x' a b c => F x x' a b c + G x x' a b c) = expect F + expect G.
Proof. by rewrite /expect -pairs_add; apply: pairs_ext => x x'; rewrite given_add. Qed.

Lemma expect_opp (V : lmodType R) (F : X -> X -> A -> A -> A -> V) :
  expect (fun x x' a b c => - F x x' a b c) = - expect F.
Proof. by rewrite /expect -pairs_opp; apply: pairs_ext => x x'; rewrite given_opp. Qed.

Hypothesis q_total : forall x, \sum_a q x a = 1.

(* Factors that see one augmentation only. *)
Lemma given_first (V : lmodType R) x x' (F : A -> V) : given x x' (fun a1 _ _ => F a1) = mean (q x) F.
Proof. by apply: mean_ext => a; rewrite !mean_const. Qed.

Lemma given_plus (V : lmodType R) x x' (F : A -> V) : given x x' (fun _ ap _ => F ap) = mean (q x) F.
Proof. by rewrite /given mean_const //; apply: mean_ext => a; rewrite mean_const. Qed.

Lemma given_minus (V : lmodType R) x x' (F : A -> V) : given x x' (fun _ _ am => F am) = mean (q x') F.
Proof. by rewrite /given !mean_const. Qed.

(* Independent augmentations: the mean of a product is the product of the means. *)
Lemma given_first_plus x x' i j l (F : A -> 'M[R]_(i, j)) (G : A -> 'M[R]_(j, l)) :
  given x x' (fun a1 ap _ => F a1 *m G ap) = mean (q x) F *m mean (q x) G.
Proof.
by rewrite -mean_mulr; apply: mean_ext => a; rewrite -mean_mull; apply: mean_ext => b; rewrite mean_const.
Qed.

Lemma given_plus_first x x' i j l (F : A -> 'M[R]_(i, j)) (G : A -> 'M[R]_(j, l)) :
  given x x' (fun a1 ap _ => F ap *m G a1) = mean (q x) F *m mean (q x) G.
Proof.
by rewrite -mean_mull; apply: mean_ext => a; rewrite -mean_mulr; apply: mean_ext => b; rewrite mean_const.
Qed.

Lemma given_first_minus x x' i j l (F : A -> 'M[R]_(i, j)) (G : A -> 'M[R]_(j, l)) :
  given x x' (fun a1 _ am => F a1 *m G am) = mean (q x) F *m mean (q x') G.
Proof. by rewrite -mean_mulr; apply: mean_ext => a; rewrite mean_const // mean_mull. Qed.

Lemma given_minus_first x x' i j l (F : A -> 'M[R]_(i, j)) (G : A -> 'M[R]_(j, l)) :
  given x x' (fun a1 _ am => F am *m G a1) = mean (q x') F *m mean (q x) G.
Proof. by rewrite -mean_mull; apply: mean_ext => a; rewrite mean_const // mean_mulr. Qed.

Section Update.

Variables (N m k : nat) (K : X -> A -> 'M[R]_(N, m)) (f : X -> A -> 'M[R]_(m, k)).

(* Minus the gradient of r_+ - r_- in one draw, through every tower (shared) or through x_1 alone (one branch). *)
Definition update x x' a1 ap am : 'M[R]_(N, k) :=
  (K x a1 - K x' am) *m (f x a1 - f x' am) - (K x a1 - K x ap) *m (f x a1 - f x ap).
Definition update_one_branch x x' a1 ap am : 'M[R]_(N, k) :=
  K x a1 *m (f x a1 - f x' am) - K x a1 *m (f x a1 - f x ap).

(* Cov_aug[K, f] at a point. *)
Definition within x : 'M[R]_(N, k) := mean (q x) (fun a => K x a *m f x a) - bar K x *m bar f x.

(* Given both points: the product of differences of means, and covariances within the points that cancel on average. *)
Theorem expect_update x x' : given x x' (update x x') =
  (bar K x - bar K x') *m (bar f x - bar f x') + (within x' - within x).
Proof.
pose here a := K x a *m f x a; pose there a := K x' a *m f x' a.
rewrite (@given_ext _ _ _ _ (fun a1 ap am => (there am - here ap) + (K x a1 *m f x ap + K x ap *m f x a1)
  - (K x a1 *m f x' am + K x' am *m f x a1))) => [|a1 ap am]; last first.
  by rewrite /update /here /there !mulmxBl !mulmxBr; apply/matrixP=> i j; rewrite !mxE; ring.
rewrite !given_add !given_opp !given_add given_minus given_plus.
rewrite (given_first_plus x x' (K x) (f x)) (given_plus_first x x' (K x) (f x)).
rewrite (given_first_minus x x' (K x) (f x')) (given_minus_first x x' (K x') (f x)).
rewrite /within /bar /here /there !mulmxBl !mulmxBr.
by do 6!move: (mean _ _) => ?; apply/matrixP=> i j; rewrite !mxE; ring.
Qed.

Lemma expect_update_one_branch x x' : given x x' (update_one_branch x x') = bar K x *m (bar f x - bar f x').
Proof.
rewrite (@given_ext _ _ _ _ (fun a1 ap am => K x a1 *m f x ap - K x a1 *m f x' am)) => [|a1 ap am].
  by rewrite given_add given_opp (given_first_plus x x' (K x) (f x)) (given_first_minus x x' (K x) (f x')) mulmxBr.
by rewrite /update_one_branch !mulmxBr; apply/matrixP=> i j; rewrite !mxE; ring.
Qed.

Hypothesis p_total : \sum_x p x = 1.

Lemma pairs_const (V : lmodType R) (F : X -> V) : pairs (fun x _ => F x) = mean p F.
Proof. by apply: mean_ext => x; rewrite mean_const. Qed.

(* E (F x - F x')(G x - G x') = 2 Cov[F, G] *)
Lemma pairs_cov i j l (F : X -> 'M[R]_(i, j)) (G : X -> 'M[R]_(j, l)) :
  pairs (fun x x' => (F x - F x') *m (G x - G x')) = cov F G *+ 2.
Proof.
rewrite (@pairs_ext _ _ (fun x x' => (F x *m G x + F x' *m G x') + (- (F x *m G x') - F x' *m G x))) => [|x x'].
  rewrite !pairs_add !pairs_opp pairs_const (pairs_swap (fun x x' => F x *m G x')).
  rewrite (pairs_swap (fun x _ => F x *m G x)) pairs_const.
  have -> : pairs (fun x x' => F x *m G x') = mean p F *m mean p G.
    by rewrite -mean_mulr; apply: mean_ext => x; rewrite mean_mull.
  by rewrite /cov mulrnBl !mulr2n opprD.
by rewrite !mulmxBl !mulmxBr; apply/matrixP=> r s; rewrite !mxE; ring.
Qed.

(* Any symmetric weight of the pair. *)
Lemma expect_weighted (c : X -> X -> R) : (forall x x', c x x' = c x' x) ->
  expect (fun x x' a1 ap am => c x x' *: update x x' a1 ap am)
  = pairs (fun x x' => c x x' *: ((bar K x - bar K x') *m (bar f x - bar f x'))).
Proof.
move=> sym; pose I x x' := c x x' *: within x'.
rewrite /expect (@pairs_ext _ _ (fun x x' =>
  c x x' *: ((bar K x - bar K x') *m (bar f x - bar f x')) + (I x x' - I x' x))) => [|x x'].
  by rewrite pairs_add [X in _ + X]pairs_add pairs_opp (pairs_swap I) subrr addr0.
rewrite -(given_map (f := fun v => c x x' *: v)) => [|u v|d v]; last 2 first.
- by rewrite scalerDr.
- by rewrite !scalerA mulrC.
by rewrite expect_update scalerDr scalerBr /I [c x' x]sym.
Qed.

Lemma expect_weighted_one_branch (c : X -> X -> R) : (forall x x', c x x' = c x' x) ->
  expect (fun x x' a1 ap am => c x x' *: update_one_branch x x' a1 ap am) *+ 2
  = pairs (fun x x' => c x x' *: ((bar K x - bar K x') *m (bar f x - bar f x'))).
Proof.
move=> sym; pose H x x' := c x x' *: (bar K x *m (bar f x - bar f x')).
have -> : expect (fun x x' a1 ap am => c x x' *: update_one_branch x x' a1 ap am) = pairs H.
  apply: pairs_ext => x x'; rewrite /H -expect_update_one_branch.
  rewrite (given_map (f := fun v => c x x' *: v)) => [//|u v|d v].
    by rewrite scalerDr.
  by rewrite !scalerA mulrC.
rewrite mulr2n -[X in _ + X]pairs_swap -pairs_add; apply: pairs_ext => x x'.
by rewrite /H [c x' x]sym -scalerDr mulmxBl -[bar f x' - bar f x]opprB mulmxN.
Qed.

Lemma expect_shared : expect update = cov (bar K) (bar f) *+ 2.
Proof.
rewrite -pairs_cov -(@pairs_ext _ (fun x x' => 1 *: ((bar K x - bar K x') *m (bar f x - bar f x')))) => [|x x'].
  by rewrite -(expect_weighted (c := fun _ _ => 1)) //; apply: expect_ext => *; rewrite scale1r.
by rewrite scale1r.
Qed.

Lemma expect_one_branch : expect update_one_branch = cov (bar K) (bar f).
Proof.
rewrite /expect (pairs_ext expect_update_one_branch).
rewrite (@pairs_ext _ _ (fun x x' => bar K x *m bar f x - bar K x *m bar f x')) => [|x x']; last by rewrite mulmxBr.
rewrite pairs_add pairs_opp pairs_const /cov; congr (_ - _).
by rewrite -mean_mulr; apply: mean_ext => x; rewrite mean_mull.
Qed.

End Update.

End Population.

(* Expectations of functions with gradients. *)
Section MeanGradient.

Variables (R : realFieldType) (T : finType) (w : T -> R).

Lemma derivative_mean (f : T -> R -> R) (d : T -> R) : (forall t, is_derivative (f t) (d t)) ->
  is_derivative (fun s => mean w (fun t => f t s : R^o)) (mean w (d : T -> R^o)).
Proof. by move=> D; apply: derivative_sum => t; apply: derivative_scale. Qed.

Lemma gradient_mean m n (F : T -> 'M[R]_(m, n) -> R) W (G : T -> 'M[R]_(m, n)) :
  (forall t, is_gradient (F t) W (G t)) ->
  is_gradient (fun V => mean w (fun t => F t V : R^o)) W (mean w G).
Proof. by move=> H dW; rewrite -mean_inner; apply: derivative_mean => t; apply: H. Qed.

End MeanGradient.
