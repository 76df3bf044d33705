(* Statement 1 (dual-gradient) with l2-normalised outputs f_L = u / ||u||, u = p_L.

     vec (dr/dW_1) = K^b_1 (K^f_1^T vec W_1 - K^f_2^T vec W_2),    K^f = K / ||u||,    K^b = K P / ||u||,
       P = I - f_L f_L^T

   where K is the connection of the network without normalisation and u_1 is not 0.
   Theorem: dual_gradient_normalized ((leaky) ReLU towers of any two shapes).
   Page: docs/mathematics/dual-gradient.md, normalised outputs.

   The numbers are a real closed field, which has square roots. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec Gradient DualGradient Relu Population CovarianceOperator.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Rules.

Variable R : realFieldType.
Implicit Types (f : R -> R) (d x y s t C : R).

(* A quadratic error near 0 is small. *)
Lemma derivative_error f d C : 0 <= C ->
  (exists2 r, 0 < r & forall t, `|t| < r -> `|f t - f 0 - t * d| <= C * `|t| ^+ 2) -> is_derivative f d.
Proof.
move=> C_ge0 [r0 pr0 E] e pe; have pc : 0 < 1 + C := add_gt0 ltr01 C_ge0.
have pec : 0 < e / (1 + C) by rewrite mulr_gt0 // invr_gt0.
have [r pr [le0 le1]] := smaller pr0 pec; exists r => // t small.
apply: le_trans (E t (lt_le_trans small le0)) _; rewrite expr2 mulrA; apply: le_mulr => //.
apply: le_trans (le_mul C_ge0 (ltW (lt_le_trans small le1))) _.
rewrite -subr_ge0; have -> : e - C * (e / (1 + C)) = e / (1 + C) by field; rewrite gt_eqF.
exact: ltW.
Qed.

Lemma derivative_inv f d : f 0 != 0 -> is_derivative f d -> is_derivative (fun t => (f t)^-1) (- (f 0) ^- 2 * d).
Proof.
move=> nz D; apply: (derivative_comp (g := fun x => x^-1) D); set x := f 0.
have px : 0 < `|x| by rewrite normr_gt0.
have pC : 0 < 2%:R / `|x| ^+ 3 by rewrite mulr_gt0 ?ltr0n // invr_gt0 exprn_gt0.
apply: (derivative_error (ltW pC)); exists (`|x| / 2%:R) => [|s small]; first exact: half_gt0.
have far : `|x| / 2%:R <= `|x + s|.
  have : `|x| <= `|x + s| + `|s| by rewrite -{1}[x](addrK s) -[`|s|]normrN; apply: norm_add.
  move=> le; rewrite -subr_ge0; have -> : `|x + s| - `|x| / 2%:R
    = (`|x + s| + `|s| - `|x|) + (`|x| / 2%:R - `|s|) by field.
  by rewrite addr_ge0 // subr_ge0 // ltW.
have nz' : x + s != 0 by rewrite -normr_gt0; apply: lt_le_trans far; apply: half_gt0.
rewrite addr0; have -> : (x + s)^-1 - x^-1 - s * - x ^- 2 = s ^+ 2 * (x ^- 2 * (x + s)^-1).
  by field; apply/andP.
rewrite normrM mulrC normrX; apply: le_mulr; first exact: exprn_ge0.
rewrite normrM !normrV ?unitfE ?expf_neq0 // normrX.
have -> : 2%:R / `|x| ^+ 3 = `|x| ^- 2 * (`|x| / 2%:R)^-1 by field; rewrite gt_eqF.
apply: le_mul; first by rewrite invr_ge0 exprn_ge0.
have ph := half_gt0 px; have pxs := lt_le_trans ph far.
rewrite -subr_ge0; have -> : (`|x| / 2%:R)^-1 - `|x + s|^-1
    = (`|x + s| - `|x| / 2%:R) * ((`|x| / 2%:R)^-1 * `|x + s|^-1).
  by field; rewrite !gt_eqF.
by rewrite mulr_ge0 ?subr_ge0 // mulr_ge0 // invr_ge0 ltW.
Qed.

End Rules.

Section Normalized.

Variable R : rcfType.

Lemma derivative_sqrt (f : R -> R) d : 0 < f 0 -> is_derivative f d ->
  is_derivative (fun t => Num.sqrt (f t)) ((2%:R * Num.sqrt (f 0))^-1 * d).
Proof.
move=> pos D; apply: (derivative_comp (g := Num.sqrt) D); set x := f 0 in pos *; set y := Num.sqrt x.
have py : 0 < y by rewrite sqrtr_gt0.
have pC : 0 < (2%:R * y ^+ 3)^-1 by rewrite invr_gt0 mulr_gt0 ?ltr0n // exprn_gt0.
apply: (derivative_error (ltW pC)); exists x => // s small; rewrite addr0 -/y.
have xs_ge0 : 0 <= x + s.
  have : 0 <= `|s| + s by rewrite -[X in _ + X]opprK subr_ge0 -normrN ler_norm.
  move=> le; have -> : x + s = (x - `|s|) + (`|s| + s) by ring.
  by rewrite addr_ge0 // subr_ge0 ltW.
set z := Num.sqrt (x + s); have z_ge0 : 0 <= z by apply: sqrtr_ge0.
have pyz : 0 < y + z by apply: add_gt0.
have Es : s = (z - y) * (y + z).
  rewrite mulrC [y + z]addrC mulrC -subr_sqr !sqr_sqrtr //; last exact: ltW.
  by rewrite addrC addKr.
have -> : z - y - s * (2%:R * y)^-1 = - ((z - y) ^+ 2 / (2%:R * y)).
  by rewrite {1}Es; field; rewrite gt_eqF.
have Ez : z - y = s / (y + z) by rewrite {1}Es mulfK // gt_eqF.
have -> : (z - y) ^+ 2 / (2%:R * y) = s ^+ 2 * ((y + z)^-1 ^+ 2 * (2%:R * y)^-1).
  by rewrite Ez; field; rewrite !gt_eqF.
rewrite normrN normrM [X in _ <= X]mulrC normrX; apply: le_mul; first exact: exprn_ge0.
rewrite ger0_norm; last first.
  by apply: mulr_ge0; [exact: sqr_ge0|rewrite invr_ge0 mulr_ge0 ?ler0n // ltW].
have -> : (2%:R * y ^+ 3)^-1 = y^-1 ^+ 2 * (2%:R * y)^-1 by field; rewrite gt_eqF.
apply: le_mulr; first by rewrite invr_ge0 mulr_ge0 ?ler0n // ltW.
have inv_le : (y + z)^-1 <= y^-1.
  rewrite -subr_ge0; have -> : y^-1 - (y + z)^-1 = z * (y^-1 * (y + z)^-1) by field; rewrite !gt_eqF.
  by rewrite mulr_ge0 // mulr_ge0 // invr_ge0 ltW.
by rewrite !expr2; apply: (le_mul2 _ _ inv_le inv_le); rewrite invr_ge0 ltW.
Qed.

Variables (h n m : nat).

(* ||u||, u / ||u||, and the projection P = I - f f^T along f = u / ||u||. *)
Definition norm (u : 'cV[R]_m) : R := Num.sqrt (inner u u).
Definition normalize (u : 'cV[R]_m) : 'cV[R]_m := (norm u)^-1 *: u.
Definition projection (u : 'cV[R]_m) : 'M[R]_m := 1%:M - normalize u *m (normalize u)^T.

Definition forward_connection (K : 'M[R]_(n * h, m)) u : 'M[R]_(n * h, m) := (norm u)^-1 *: K.
Definition backward_connection (K : 'M[R]_(n * h, m)) u : 'M[R]_(n * h, m) := (norm u)^-1 *: (K *m projection u).

Lemma inner_ge0 (u : 'cV[R]_m) : 0 <= inner u u.
Proof. by rewrite innerE; do 2!(apply: sumr_ge0 => ? _); rewrite -expr2 sqr_ge0. Qed.

Lemma norm_sqr u : norm u ^+ 2 = inner u u.
Proof. by rewrite sqr_sqrtr // inner_ge0. Qed.

Lemma inner_gt0 (u : 'cV[R]_m) : u != 0 -> 0 < inner u u.
Proof.
move=> nz; rewrite lt_neqAle inner_ge0 andbT eq_sym; apply: contraNneq nz => E; apply/eqP/matrixP=> i j.
rewrite mxE (ord1 j); apply/eqP; rewrite -sqrf_eq0 expr2; apply/eqP.
move: E; rewrite innerE => /eqP; rewrite psumr_eq0 => [/allP/(_ i)|k _]; last by rewrite big_ord1 -expr2 sqr_ge0.
by rewrite mem_index_enum big_ord1 => /(_ isT)/eqP.
Qed.

Lemma projection_sym u : (projection u)^T = projection u.
Proof. by rewrite /projection linearB /= trmx1 trmx_mul trmxK. Qed.

(* The connection of the normalised output is the backward connection. *)
Lemma normalize_connection (f : 'M[R]_(h, n) -> 'cV[R]_m) W K : f W != 0 -> is_connection f W K ->
  is_connection (fun V => normalize (f V)) W (backward_connection K (f W)).
Proof.
move=> nz H dW k; set u := f W in nz *; pose d := K^T *m vec dW.
have f0 : f (W + 0 *: dW) = u by rewrite scale0r addr0.
have pos := inner_gt0 nz; have pN : 0 < norm u by rewrite sqrtr_gt0.
have Dn : is_derivative (fun t => inner (f (W + t *: dW)) (f (W + t *: dW))) (2%:R * inner u d).
  have D := derivative_sum (index_enum _) (fun k => derivative_square (H dW k)).
  have -> : 2%:R * inner u d = \sum_k 2%:R * f (W + 0 *: dW) k 0 * d k 0.
    by rewrite innerE mulr_sumr; apply: eq_bigr => l _; rewrite big_ord1 f0 mulrA.
  by apply: derivative_ext D => t; rewrite innerE; apply: eq_bigr => l _; rewrite big_ord1 expr2.
have Ds := derivative_sqrt (f := fun t => inner (f (W + t *: dW)) (f (W + t *: dW))) _ Dn.
rewrite f0 in Ds; have {}Ds := Ds pos.
have Di := derivative_inv (f := fun t => norm (f (W + t *: dW))) _ Ds.
rewrite f0 in Di; have {}Di := Di (lt0r_neq0 pN).
have D := derivative_mul Di (H dW k); rewrite f0 in D.
have -> : ((backward_connection K u)^T *m vec dW) k 0 =
   - norm u ^- 2 * ((2%:R * norm u)^-1 * (2%:R * inner u d)) * u k 0 + (norm u)^-1 * d k 0.
  rewrite /backward_connection linearZ /= -scalemxAl trmx_mul projection_sym -mulmxA -/d mxE.
  have -> : (projection u *m d) k 0 = d k 0 - norm u ^- 2 * (inner u d * u k 0).
    rewrite mulmxBl mul1mx mxE [X in _ + X]mxE -mulmxA; congr (_ - _).
    have dotE : (u^T *m d) 0 0 = inner u d.
      by rewrite innerE mxE; apply: eq_bigr => l _; rewrite big_ord1 mxE.
    have transposeE : ((normalize u)^T *m d) 0 0 = (norm u)^-1 * inner u d.
      by rewrite /normalize linearZ /= -scalemxAl mxE dotE.
    have entryE : normalize u k 0 = (norm u)^-1 * u k 0 by rewrite mxE.
    rewrite mxE big_ord1 transposeE -[normalize u k _]/(normalize u k 0) entryE; move: (inner u d) (u k 0) => z y.
    by field; rewrite gt_eqF.
  move: (inner u d) (d k 0) (u k 0) => z y x; by field; rewrite gt_eqF.
by apply: derivative_ext D => t; rewrite /normalize mxE.
Qed.

End Normalized.

Section Statement.

Variables (R : rcfType) (slope : R).

Theorem dual_gradient_normalized m n1 n h (lo1 : lower R n1 n) (W1 : 'M[R]_(h, n)) (u1 : upper R m h) x1
    n2 n' h' (lo2 : lower R n2 n') (W2 : 'M[R]_(h', n')) (u2 : upper R m h') x2 (G : 'M[R]_(h, n)) :
  let p1 := relu_net slope lo1 u1 W1 x1 in
  let p2 := relu_net slope lo2 u2 W2 x2 in
  let K1 := relu_connection slope lo1 u1 W1 x1 in
  let K2 := relu_connection slope lo2 u2 W2 x2 in
  smooth_at slope lo1 u1 W1 x1 -> p1 != 0 ->
  is_gradient (fun V => distance (normalize (relu_net slope lo1 u1 V x1)) (normalize p2)) W1 G
  <-> vec G = backward_connection K1 p1
      *m ((forward_connection K1 p1)^T *m vec W1 - (forward_connection K2 p2)^T *m vec W2).
Proof.
move=> p1 p2 K1 K2 smooth nz.
have C : is_connection (fun V => relu_net slope lo1 u1 V x1) W1 K1 :=
  relu_is_connection (slope := slope) (lo := lo1) (u := u1) (W := W1)
  (input := fun _ _ : unit => x1) (fun _ _ => smooth) tt tt.
have N := normalize_connection (f := fun V => relu_net slope lo1 u1 V x1) nz C.
have H := distance_connection N (connection_const (normalize p2) W1).
apply: iff_trans (gradient_iff _ H) _; apply: iff_trans (unvec_iff _ _) _.
have E m' n'' h'' (K : 'M[R]_(n'' * h'', m')) w : (forward_connection K (K^T *m w))^T *m w = normalize (K^T *m w).
  by rewrite /forward_connection linearZ /= -scalemxAl.
have E1 : (forward_connection K1 p1)^T *m vec W1 = normalize p1 by rewrite /p1 -relu_key_identity E.
have E2 : (forward_connection K2 p2)^T *m vec W2 = normalize p2 by rewrite /p2 -relu_key_identity E.
by rewrite E1 E2 subr0.
Qed.

End Statement.
