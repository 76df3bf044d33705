(* What a gradient is: the derivative along every line, with epsilon and delta.

     F (W + t dW) = F W + t <G, dW> + o(t)   for every direction dW

   Definition: is_gradient.  Theorem: gradient_unique (no other matrix does this).
   Page: docs/mathematics/conventions.md.

   The numbers are any ordered field in the sense of MathComp (realFieldType: the rationals, the real algebraic
   numbers), so that no axiom is needed.  Coq's own real numbers are such a field only with an axiom of choice, which is
   not used.  Below are the rules of differentiation that the other files use. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Order.

Variable R : realFieldType.
Implicit Types a b c d e r t x y : R.

Lemma le_add a b c d : a <= b -> c <= d -> a + c <= b + d.
Proof.
move=> ab cd; rewrite -subr_ge0; have -> : b + d - (a + c) = (b - a) + (d - c) by ring.
by rewrite addr_ge0 // subr_ge0.
Qed.

Lemma le_mul a b c : 0 <= a -> b <= c -> a * b <= a * c.
Proof. by move=> a_ge0 bc; rewrite -subr_ge0 -mulrBr mulr_ge0 // subr_ge0. Qed.

Lemma le_mulr a b c : 0 <= a -> b <= c -> b * a <= c * a.
Proof. by move=> a_ge0 bc; rewrite ![_ * a]mulrC; apply: le_mul. Qed.

Lemma le_mul2 a b c d : 0 <= a -> 0 <= c -> a <= b -> c <= d -> a * c <= b * d.
Proof.
move=> a_ge0 c_ge0 ab cd; apply: le_trans (le_mul a_ge0 cd) _.
by apply: le_mulr ab; apply: le_trans cd.
Qed.

Lemma lt_addr a b : 0 < b -> a < a + b.
Proof. by move=> b_gt0; rewrite -subr_gt0 addrAC subrr add0r. Qed.

Lemma add_gt0 a b : 0 < a -> 0 <= b -> 0 < a + b.
Proof. by move=> a_gt0 b_ge0; apply: lt_le_trans a_gt0 _; rewrite -subr_ge0 addrAC subrr add0r. Qed.

Lemma norm_add x y : `|x + y| <= `|x| + `|y|.
Proof. by have := ler_norm_sum (index_enum [finType of bool]) (fun i : bool => if i then x else y) xpredT;
  rewrite !big_bool. Qed.

Lemma smaller a b : 0 < a -> 0 < b -> exists2 r, 0 < r & r <= a /\ r <= b.
Proof. by move=> pa pb; case: (leP a b) => [le|/ltW le]; [exists a | exists b]. Qed.

Lemma half_gt0 a : 0 < a -> 0 < a / 2%:R.
Proof. by move=> pa; rewrite mulr_gt0 // invr_gt0 ltr0n. Qed.

Lemma norm_bound m n (M : 'M[R]_(m, n)) i j : `|M i j| <= \sum_i \sum_j `|M i j|.
Proof.
rewrite (bigD1 i) //= (bigD1 j) //= -addrA -[X in X <= _]addr0; apply: le_add => //.
by apply: addr_ge0; apply: sumr_ge0 => *; rewrite ?sumr_ge0.
Qed.

End Order.

Section Derivative.

Variable R : realFieldType.
Implicit Types (f g : R -> R) (d e r t : R).

(* d is the derivative of f at 0. *)
Definition is_derivative f d : Prop :=
  forall e, 0 < e -> exists2 r, 0 < r & forall t, `|t| < r -> `|f t - f 0 - t * d| <= e * `|t|.

Lemma derivative_ext f g d : f =1 g -> is_derivative f d -> is_derivative g d.
Proof. by move=> E D e pe; have [r pr H] := D e pe; exists r => // t small; rewrite -!E; apply: H. Qed.

(* Only a neighbourhood of 0 matters. *)
Lemma derivative_local f g d : (exists2 r, 0 < r & forall t, `|t| < r -> f t = g t) ->
  is_derivative f d -> is_derivative g d.
Proof.
move=> [r0 pr0 E] D e pe; have [r1 pr1 H] := D e pe.
have [r pr [le0 le1]] := smaller pr0 pr1; exists r => // t small.
have E0 : f 0 = g 0 by apply: E; rewrite normr0.
by rewrite -E0 -E ?(lt_le_trans small) //; apply: H; apply: lt_le_trans small le1.
Qed.

Lemma derivative_const c : is_derivative (fun _ => c) 0.
Proof. by move=> e pe; exists 1 => // t _; rewrite subrr mulr0 subr0 normr0 mulr_ge0 // ltW. Qed.

Lemma derivative_add f g d1 d2 : is_derivative f d1 -> is_derivative g d2 ->
  is_derivative (fun t => f t + g t) (d1 + d2).
Proof.
move=> D1 D2 e pe; have pe2 := half_gt0 pe.
have [r1 pr1 H1] := D1 _ pe2; have [r2 pr2 H2] := D2 _ pe2.
have [r pr [le1 le2]] := smaller pr1 pr2; exists r => // t small.
have -> : f t + g t - (f 0 + g 0) - t * (d1 + d2) = (f t - f 0 - t * d1) + (g t - g 0 - t * d2) by ring.
apply: le_trans (norm_add _ _) _; have -> : e * `|t| = e / 2%:R * `|t| + e / 2%:R * `|t| by field.
by apply: le_add; [apply: H1; apply: lt_le_trans le1 | apply: H2; apply: lt_le_trans le2].
Qed.

Lemma derivative_scale c f d : is_derivative f d -> is_derivative (fun t => c * f t) (c * d).
Proof.
move=> D e pe; have pc : 0 < 1 + `|c| by apply: add_gt0.
have [|r pr H] := D (e / (1 + `|c|)); first by rewrite mulr_gt0 // invr_gt0.
exists r => // t small; have -> : c * f t - c * f 0 - t * (c * d) = c * (f t - f 0 - t * d) by ring.
rewrite normrM; apply: le_trans (le_mul (normr_ge0 c) (H t small)) _.
rewrite -subr_ge0; have -> : e * `|t| - `|c| * (e / (1 + `|c|) * `|t|) = e / (1 + `|c|) * `|t|.
  by field; rewrite gt_eqF.
by rewrite mulr_ge0 // mulr_ge0 ?invr_ge0 // ltW.
Qed.

Lemma derivative_opp f d : is_derivative f d -> is_derivative (fun t => - f t) (- d).
Proof. by move=> D; rewrite -mulN1r; apply: derivative_ext (derivative_scale (-1) D) => t; rewrite mulN1r. Qed.

Lemma derivative_sub f g d1 d2 : is_derivative f d1 -> is_derivative g d2 ->
  is_derivative (fun t => f t - g t) (d1 - d2).
Proof. by move=> D1 D2; apply: derivative_add => //; apply: derivative_opp. Qed.

Lemma derivative_sum (T : Type) (s : seq T) (f : T -> R -> R) (d : T -> R) : (forall i, is_derivative (f i) (d i)) ->
  is_derivative (fun t => \sum_(i <- s) f i t) (\sum_(i <- s) d i).
Proof.
move=> D; elim: s => [|i s IH].
  by rewrite big_nil; apply: derivative_ext (derivative_const 0) => t; rewrite big_nil.
by rewrite big_cons; apply: derivative_ext (derivative_add (D i) IH) => t; rewrite big_cons.
Qed.

(* Near 0 a quadratic polynomial. *)
Lemma derivative_quadratic f d :
  (exists2 r, 0 < r & exists c, forall t, `|t| < r -> f t = f 0 + t * d + t ^+ 2 * c) -> is_derivative f d.
Proof.
move=> [r0 pr0 [c E]] e pe; have pc : 0 < 1 + `|c| by apply: add_gt0.
have pec : 0 < e / (1 + `|c|) by rewrite mulr_gt0 // invr_gt0.
have [r pr [le0 le1]] := smaller pr0 pec; exists r => // t small.
rewrite E ?(lt_le_trans small) //; have -> : f 0 + t * d + t ^+ 2 * c - f 0 - t * d = t * (t * c) by ring.
rewrite normrM mulrC; apply: le_mulr => //; rewrite normrM.
apply: le_trans (le_mulr (normr_ge0 c) (ltW (lt_le_trans small le1))) _.
rewrite -subr_ge0; have -> : e - e / (1 + `|c|) * `|c| = e / (1 + `|c|) by field; rewrite gt_eqF.
exact: ltW.
Qed.

Lemma derivative_linear c d : is_derivative (fun t => c + t * d) d.
Proof. by apply: derivative_quadratic; exists 1 => //; exists 0 => t _; rewrite mul0r mulr0 !addr0. Qed.

(* A function with a derivative is continuous, with a rate. *)
Lemma derivative_bound f d : is_derivative f d ->
  exists2 r, 0 < r & forall t, `|t| < r -> `|f t - f 0| <= (1 + `|d|) * `|t|.
Proof.
move=> D; have [r pr H] := D 1 ltr01; exists r => // t small.
have -> : f t - f 0 = (f t - f 0 - t * d) + t * d by ring.
apply: le_trans (norm_add _ _) _; rewrite mulrDl; apply: le_add; first exact: H.
by rewrite normrM mulrC.
Qed.

(* Chain rule; d2 is the derivative of g at f 0. *)
Lemma derivative_comp f g d1 d2 : is_derivative f d1 -> is_derivative (fun s => g (f 0 + s)) d2 ->
  is_derivative (fun t => g (f t)) (d2 * d1).
Proof.
move=> Df Dg e pe; have [rb prb B] := derivative_bound Df; set M := 1 + `|d1| in B.
have pM : 0 < M by apply: add_gt0.
have pd : 0 < 1 + `|d2| by apply: add_gt0.
have pe1 : 0 < e / 2%:R / M by rewrite mulr_gt0 ?invr_gt0 // half_gt0.
have pe2 : 0 < e / 2%:R / (1 + `|d2|) by rewrite mulr_gt0 ?invr_gt0 // half_gt0.
have [rg prg Hg] := Dg _ pe1; have [rf prf Hf] := Df _ pe2.
have prg' : 0 < rg / M by rewrite mulr_gt0 // invr_gt0.
have [r' pr' [l1 l2]] := smaller prb prf; have [r pr [l3 l4]] := smaller pr' prg'.
exists r => // t small; have small' := lt_le_trans small l3.
have Bt := B t (lt_le_trans small' l1); have Ft := Hf t (lt_le_trans small' l2).
have near : `|f t - f 0| < rg.
  apply: le_lt_trans Bt _; have -> : rg = M * (rg / M) by field; rewrite gt_eqF.
  rewrite -subr_gt0 -mulrBr mulr_gt0 // subr_gt0; exact: lt_le_trans small l4.
have := Hg _ near; rewrite addr0 [f 0 + _]addrC subrK => Gt.
have -> : g (f t) - g (f 0) - t * (d2 * d1)
  = (g (f t) - g (f 0) - (f t - f 0) * d2) + d2 * (f t - f 0 - t * d1) by ring.
apply: le_trans (norm_add _ _) _; rewrite normrM.
have -> : e * `|t| = e / 2%:R / M * (M * `|t|) + (e / 2%:R) * `|t| by field; rewrite gt_eqF.
apply: le_add; first by apply: le_trans Gt _; apply: le_mul => //; apply: ltW.
apply: le_trans (le_mul (normr_ge0 d2) Ft) _; rewrite -subr_ge0.
have -> : e / 2%:R * `|t| - `|d2| * (e / 2%:R / (1 + `|d2|) * `|t|) = e / 2%:R / (1 + `|d2|) * `|t|.
  by field; rewrite gt_eqF.
by rewrite mulr_ge0 // ltW.
Qed.

Lemma derivative_square f d : is_derivative f d -> is_derivative (fun t => f t ^+ 2) (2%:R * f 0 * d).
Proof.
move=> D; apply: (@derivative_comp f (fun x => x ^+ 2)) => //.
by apply: derivative_quadratic; exists 1 => //; exists 1 => t _; ring.
Qed.

Lemma derivative_mul f g d1 d2 : is_derivative f d1 -> is_derivative g d2 ->
  is_derivative (fun t => f t * g t) (d1 * g 0 + f 0 * d2).
Proof.
move=> D1 D2; pose s t := f t + g t.
have Ds : is_derivative s (d1 + d2) by apply: derivative_add.
have := derivative_scale (2%:R^-1) (derivative_sub (derivative_square Ds)
  (derivative_add (derivative_square D1) (derivative_square D2))).
have -> : 2%:R^-1 * (2%:R * s 0 * (d1 + d2) - (2%:R * f 0 * d1 + 2%:R * g 0 * d2)) = d1 * g 0 + f 0 * d2.
  by rewrite /s; field.
by apply: derivative_ext => t; rewrite /s; field.
Qed.

Lemma derivative_unique f d1 d2 : is_derivative f d1 -> is_derivative f d2 -> d1 = d2.
Proof.
move=> D1 D2; apply/eqP; rewrite -subr_eq0 -normr_eq0; apply/negPn/negP => nz.
have pD : 0 < `|d1 - d2| by rewrite lt_neqAle eq_sym nz normr_ge0.
have pe : 0 < `|d1 - d2| / 4%:R by rewrite mulr_gt0 // invr_gt0 ltr0n.
have [r1 pr1 H1] := D1 _ pe; have [r2 pr2 H2] := D2 _ pe.
have [r pr [le1 le2]] := smaller pr1 pr2; pose t := r / 2%:R.
have pt : 0 < t by apply: half_gt0.
have small : `|t| < r by rewrite gtr0_norm // -subr_gt0 /t; have -> : r - r / 2%:R = r / 2%:R by field.
have := le_add (H1 t (lt_le_trans small le1)) (H2 t (lt_le_trans small le2)).
set a := _ - t * d1; set b := _ - t * d2 => le.
have : `|b - a| <= `|a| + `|b| by rewrite addrC -[`|a|]normrN; apply: norm_add.
have -> : b - a = t * (d1 - d2) by rewrite /a /b; ring.
move/le_trans/(_ le); rewrite normrM; have -> : `|d1 - d2| / 4%:R * `|t| + `|d1 - d2| / 4%:R * `|t|
  = `|t| * `|d1 - d2| / 2%:R by field.
have ptD : 0 < `|t| * `|d1 - d2| by rewrite mulr_gt0 // gtr0_norm.
move: ptD; move: (`|t| * _) => z pz; rewrite -subr_ge0; have -> : z / 2%:R - z = - (z / 2%:R) by field.
by rewrite oppr_ge0 leNgt half_gt0.
Qed.

End Derivative.

Section Gradient.

Variables (R : realFieldType) (m n : nat).
Implicit Types (F : 'M[R]_(m, n) -> R) (W G : 'M[R]_(m, n)).

(* G is the gradient of F at W: along each line the derivative of F is <G, dW>. *)
Definition is_gradient F W G : Prop := forall dW, is_derivative (fun t => F (W + t *: dW)) (inner G dW).

Theorem gradient_unique F W G G' : is_gradient F W G -> is_gradient F W G' -> G = G'.
Proof. by move=> H H'; apply: inner_inj => dW; apply: derivative_unique (H dW) (H' dW). Qed.

Lemma gradient_ext F F' W G : F =1 F' -> is_gradient F W G -> is_gradient F' W G.
Proof. by move=> E H dW; apply: derivative_ext (H dW) => t; rewrite E. Qed.

Lemma gradient_iff F W G G' : is_gradient F W G' -> (is_gradient F W G <-> G = G').
Proof. by move=> H; split=> [H'|->] //; apply: gradient_unique H' H. Qed.

End Gradient.
