(* Statement 1 (dual-gradient), arXiv 2010.00578 Theorem 1: the gradient of the squared distance of two towers.

     vec (dr/dW_1) = K_1 (K_1^T vec W_1 - K_2^T vec W_2)

   for every depth, all widths, any gates, any two inputs and weight sets; the two towers may differ in shape.
   Theorems: dual_gradient (the first tower moves) and dual_gradient_shared (one weight matrix in both towers).
   Page: docs/mathematics/dual-gradient.md; conventions.md for the network and its connection.

   A network is cut at the layer l under study into what lies below it (from x to f_{l-1}), W_l, and what lies above it
   (from p_l to f_L).  Theorem cut_anywhere: every layer of every network is met in this way.  Gates are given data
   here; Relu.v derives them from the pre-activations. *)

From mathcomp Require Import all_ssreflect all_algebra.
From Covop Require Import Vec Gradient.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Networks.

Variable R : Type.

(* f_0 = x, p_l = W_l f_{l-1}, f_l = D_l p_l for l < L, f_L = p_L; D_l = diag d.  Widths are in the types. *)
Inductive net (m : nat) : nat -> Type :=
| Last n (W : 'M[R]_(m, n)) : net m n
| Layer n h (W : 'M[R]_(h, n)) (d : 'rV[R]_h) (rest : net m h) : net m n.

Inductive below (n0 : nat) : nat -> Type :=
| Input : below n0 n0
| Below n h (b : below n0 n) (W : 'M[R]_(h, n)) (d : 'rV[R]_h) : below n0 h.

Inductive above (m : nat) : nat -> Type :=
| Top : above m m
| Above n h (d : 'rV[R]_n) (W : 'M[R]_(h, n)) (a : above m h) : above m n.

Fixpoint depth m n (N : net m n) : nat :=
  match N with Last _ _ => 1 | Layer _ _ _ _ rest => (depth rest).+1 end.

Fixpoint layers_below n0 n (b : below n0 n) : nat :=
  match b with Input => 0 | Below _ _ b' _ _ => (layers_below b').+1 end.

(* The network above p_l, once W_l is put under it. *)
Fixpoint cap m h (a : above m h) : forall n, 'M[R]_(h, n) -> net m n :=
  match a in above _ h return forall n, 'M[R]_(h, n) -> net m n with
  | Top => fun n W => Last W
  | Above _ _ d W' a' => fun n W => Layer W d (cap a' W')
  end.

Fixpoint graft n0 n (b : below n0 n) : forall m, net m n -> net m n0 :=
  match b in below _ n return forall m, net m n -> net m n0 with
  | Input => fun m N => N
  | Below _ _ b' W d => fun m N => graft b' (Layer W d N)
  end.

Definition plug n0 n h m (b : below n0 n) (W : 'M[R]_(h, n)) (a : above m h) : net m n0 := graft b (cap a W).

Lemma cap_onto m n (N : net m n) : exists h (W : 'M[R]_(h, n)) (a : above m h), N = cap a W.
Proof.
elim: N => {n} [n W|n h W d rest [h' [W' [a ->]]]]; first by exists m, W, (Top m).
by exists h, W, (Above d W' a).
Qed.

(* Every layer l + 1 <= L of every network is the marked layer of a cut. *)
Theorem cut_anywhere m n0 (N : net m n0) l : (l < depth N)%N ->
  exists n h (b : below n0 n) (W : 'M[R]_(h, n)) (a : above m h), N = plug b W a /\ layers_below b = l.
Proof.
suff: forall n (N' : net m n) (b : below n0 n) k, N = graft b N' -> layers_below b = k -> (l < k + depth N')%N ->
    (k <= l)%N ->
    exists n h (b : below n0 n) (W : 'M[R]_(h, n)) (a : above m h), N = plug b W a /\ layers_below b = l.
  by move=> H lt_l; apply: (H n0 N (Input n0) 0%N).
move=> n; elim=> {n} [n W|n h W d rest IH] b k E Ek lt_l le_k.
  exists n, m, b, W, (Top m); split=> //; apply/eqP; rewrite Ek eqn_leq le_k.
  by move: lt_l => /=; rewrite addn1 ltnS.
case: (ltngtP k l) le_k => // [lt_k _|eq_k _].
  by apply: (IH (Below b W d) k.+1) => //=; rewrite ?Ek // addSnnS.
have [h' [W' [a Ea]]] := cap_onto (Layer W d rest).
by exists n, h', b, W', a; rewrite /plug -Ea E Ek.
Qed.

End Networks.

Arguments Top {R m}.
Arguments Input {R n0}.

Section Statement.

Variable R : comRingType.

Implicit Types (m n h : nat).

Definition gate n (d : 'rV[R]_n) : 'M[R]_n := diag_mx d.

Fixpoint forward m n (N : net R m n) : 'cV[R]_n -> 'cV[R]_m :=
  match N in net _ _ n return 'cV[R]_n -> 'cV[R]_m with
  | Last _ W => fun x => W *m x
  | Layer _ _ W d rest => fun x => forward rest (gate d *m (W *m x))
  end.

(* f_{l-1} *)
Fixpoint activation n0 n (b : below R n0 n) (x : 'cV[R]_n0) : 'cV[R]_n :=
  match b in below _ _ n return 'cV[R]_n with
  | Input => x
  | Below _ _ b' W d => gate d *m (W *m activation b' x)
  end.

(* J_L = I, J_l = J_{l+1} W_{l+1} D_l *)
Fixpoint jacobian m n (a : above R m n) : 'M[R]_(m, n) :=
  match a in above _ _ n return 'M[R]_(m, n) with
  | Top => 1%:M
  | Above _ _ d W a' => jacobian a' *m W *m gate d
  end.

(* K_l = f_{l-1} kron J_l^T *)
Definition connection n0 n h m (b : below R n0 n) (a : above R m h) x : 'M[R]_(n * h, m) :=
  kronc (activation b x) (jacobian a)^T.

Lemma forward_cap m h (a : above R m h) n (W : 'M[R]_(h, n)) y : forward (cap a W) y = jacobian a *m (W *m y).
Proof. by elim: a n W y => {h} [|h k d W' a IH] n W y /=; rewrite ?mul1mx // IH !mulmxA. Qed.

Lemma forward_graft n0 n (b : below R n0 n) m (N : net R m n) x :
  forward (graft b N) x = forward N (activation b x).
Proof. by elim: b m N => //= {}n h b IH W d m N; rewrite IH. Qed.

(* f_L = J_l p_l, p_l = W_l f_{l-1}: a homogeneous network is linear in each of its layers. *)
Theorem homogeneity n0 n h m (b : below R n0 n) (W : 'M[R]_(h, n)) (a : above R m h) x :
  forward (plug b W a) x = jacobian a *m W *m activation b x.
Proof. by rewrite /plug forward_graft forward_cap mulmxA. Qed.

(* K_l^T vec W_l = f_L *)
Theorem key_identity n0 n h m (b : below R n0 n) (W : 'M[R]_(h, n)) (a : above R m h) x :
  (connection b a x)^T *m vec W = forward (plug b W a) x.
Proof. by rewrite /connection kronc_tr_vec homogeneity. Qed.

(* J_l^T g f_{l-1}^T: what the chain rule makes of a column g of the outputs. *)
Definition backward n0 n h m (b : below R n0 n) (a : above R m h) x (g : 'cV[R]_m) : 'M[R]_(h, n) :=
  (jacobian a)^T *m g *m (activation b x)^T.

Lemma vec_backward n0 n h m (b : below R n0 n) (a : above R m h) x g :
  vec (backward b a x g) = connection b a x *m g.
Proof. exact: vec_mul_col. Qed.

(* Two towers of any two shapes; only their outputs have one width. *)
Lemma vec_backward_gap m n1 n h (b1 : below R n1 n) (W1 : 'M[R]_(h, n)) (a1 : above R m h) x1
    n2 n' h' (b2 : below R n2 n') (W2 : 'M[R]_(h', n')) (a2 : above R m h') x2 :
  let K1 := connection b1 a1 x1 in
  let K2 := connection b2 a2 x2 in
  vec (backward b1 a1 x1 (forward (plug b1 W1 a1) x1 - forward (plug b2 W2 a2) x2))
  = K1 *m (K1^T *m vec W1 - K2^T *m vec W2).
Proof. by rewrite /= vec_backward !key_identity. Qed.

(* One weight matrix in both towers: the two parts add up to a square. *)
Lemma vec_backward_shared m n0 n h (b1 b2 : below R n0 n) (W : 'M[R]_(h, n)) (a1 a2 : above R m h) x1 x2 :
  let K1 := connection b1 a1 x1 in
  let K2 := connection b2 a2 x2 in
  let f1 := forward (plug b1 W a1) x1 in
  let f2 := forward (plug b2 W a2) x2 in
  vec (backward b1 a1 x1 (f1 - f2) + backward b2 a2 x2 (f2 - f1)) = (K1 - K2) *m (K1 - K2)^T *m vec W.
Proof.
rewrite /= vecD !vec_backward -[X in _ + _ *m X]opprB mulmxN -mulmxBl -!key_identity.
by rewrite -mulmxBl -linearB mulmxA.
Qed.

End Statement.

Section Derivative.

Variable R : realFieldType.

(* r = 1/2 ||u - v||^2 *)
Definition distance m (u v : 'cV[R]_m) : R := 2%:R^-1 * inner (u - v) (u - v).

Lemma inner_line m (g d : 'cV[R]_m) t :
  inner (g + t *: d) (g + t *: d) = inner g g + 2%:R * (t * inner g d) + t ^+ 2 * inner d d.
Proof. by rewrite innerDl !innerDr !innerZl !innerZr (innerC d g) mulrA -expr2 mulr_natl mulr2n !addrA. Qed.

Lemma distance_line m (u du v : 'cV[R]_m) t :
  distance (u + t *: du) v = distance u v + t * inner (u - v) du + t ^+ 2 * (2%:R^-1 * inner du du).
Proof.
rewrite /distance addrAC inner_line [in LHS]mulrDr [in LHS]mulrDr; congr (_ + _ + _).
  by rewrite [_ * (2%:R * _)]mulrA mulVf ?mul1r ?pnatr_eq0.
by rewrite mulrCA.
Qed.

(* The change of the output along dW, at fixed gates. *)
Definition turn n0 n h m (b : below R n0 n) (a : above R m h) (dW : 'M[R]_(h, n)) x : 'cV[R]_m :=
  jacobian a *m dW *m activation b x.

Lemma forward_line n0 n h m (b : below R n0 n) (W dW : 'M[R]_(h, n)) (a : above R m h) x t :
  forward (plug b (W + t *: dW) a) x = forward (plug b W a) x + t *: turn b a dW x.
Proof. by rewrite !homogeneity mulmxDr mulmxDl -scalemxAr -scalemxAl. Qed.

Lemma inner_backward n0 n h m (b : below R n0 n) (dW : 'M[R]_(h, n)) (a : above R m h) x g :
  inner (backward b a x g) dW = inner g (turn b a dW x).
Proof. by rewrite /backward inner_outer trmxK. Qed.

(* r(W + t dW) is a polynomial in t. *)
Lemma distance_along m n1 n h (b : below R n1 n) (W dW : 'M[R]_(h, n)) (a : above R m h) x (f2 : 'cV[R]_m) t :
  let f1 := forward (plug b W a) x in
  let df := turn b a dW x in
  distance (forward (plug b (W + t *: dW) a) x) f2
  = distance f1 f2 + t * inner (backward b a x (f1 - f2)) dW + t ^+ 2 * (2%:R^-1 * inner df df).
Proof. by rewrite /= forward_line distance_line inner_backward. Qed.

Lemma distance_along_shared m n0 n h (b1 b2 : below R n0 n) (W dW : 'M[R]_(h, n)) (a1 a2 : above R m h) x1 x2 t :
  let f1 := forward (plug b1 W a1) x1 in
  let f2 := forward (plug b2 W a2) x2 in
  let df := turn b1 a1 dW x1 - turn b2 a2 dW x2 in
  distance (forward (plug b1 (W + t *: dW) a1) x1) (forward (plug b2 (W + t *: dW) a2) x2)
  = distance f1 f2 + t * inner (backward b1 a1 x1 (f1 - f2) + backward b2 a2 x2 (f2 - f1)) dW
    + t ^+ 2 * (2%:R^-1 * inner df df).
Proof.
rewrite /= !forward_line; set u := forward _ _; set v := forward _ _; set du := turn _ _ _ x1; set dv := turn _ _ _ x2.
have -> : distance (u + t *: du) (v + t *: dv) = distance (u + t *: (du - dv)) v.
  by rewrite /distance opprD addrACA -scalerBr addrAC.
rewrite distance_line; congr (_ + _ * _ + _).
by rewrite innerDl !inner_backward -/du -/dv innerDr innerNr -innerNl opprB.
Qed.

Lemma distance_gradient m n1 n h (b : below R n1 n) (W : 'M[R]_(h, n)) (a : above R m h) x (f2 : 'cV[R]_m) :
  is_gradient (fun V => distance (forward (plug b V a) x) f2) W (backward b a x (forward (plug b W a) x - f2)).
Proof.
move=> dW; apply: derivative_quadratic; exists 1 => //; eexists => t _.
by rewrite scale0r addr0 distance_along.
Qed.

Lemma distance_gradient_shared m n0 n h (b1 b2 : below R n0 n) (W : 'M[R]_(h, n)) (a1 a2 : above R m h) x1 x2 :
  let f1 := forward (plug b1 W a1) x1 in
  let f2 := forward (plug b2 W a2) x2 in
  is_gradient (fun V => distance (forward (plug b1 V a1) x1) (forward (plug b2 V a2) x2)) W
    (backward b1 a1 x1 (f1 - f2) + backward b2 a2 x2 (f2 - f1)).
Proof.
move=> f1 f2 dW; apply: derivative_quadratic; exists 1 => //; eexists => t _.
by rewrite scale0r addr0 distance_along_shared.
Qed.

Lemma vec_iff m n (G G' : 'M[R]_(m, n)) v : vec G' = v -> (G = G' <-> vec G = v).
Proof. by move=> <-; split=> [->//|/vec_inj]. Qed.

(* The weights of the second tower stand still, or are others. *)
Theorem dual_gradient m n1 n h (b1 : below R n1 n) (W1 : 'M[R]_(h, n)) (a1 : above R m h) x1
    n2 n' h' (b2 : below R n2 n') (W2 : 'M[R]_(h', n')) (a2 : above R m h') x2 (G : 'M[R]_(h, n)) :
  let K1 := connection b1 a1 x1 in
  let K2 := connection b2 a2 x2 in
  is_gradient (fun V => distance (forward (plug b1 V a1) x1) (forward (plug b2 W2 a2) x2)) W1 G
  <-> vec G = K1 *m (K1^T *m vec W1 - K2^T *m vec W2).
Proof.
move=> K1 K2; apply: iff_trans (vec_iff _ (vec_backward_gap b1 W1 a1 x1 b2 W2 a2 x2)).
exact/gradient_iff/distance_gradient.
Qed.

(* The weights are one tensor, and the gradient flows through both towers. *)
Theorem dual_gradient_shared m n0 n h (b1 b2 : below R n0 n) (W : 'M[R]_(h, n)) (a1 a2 : above R m h) x1 x2
    (G : 'M[R]_(h, n)) :
  let K1 := connection b1 a1 x1 in
  let K2 := connection b2 a2 x2 in
  is_gradient (fun V => distance (forward (plug b1 V a1) x1) (forward (plug b2 V a2) x2)) W G
  <-> vec G = (K1 - K2) *m (K1 - K2)^T *m vec W.
Proof.
move=> K1 K2; apply: iff_trans (vec_iff _ (vec_backward_shared b1 b2 W a1 a2 x1 x2)).
exact/gradient_iff/distance_gradient_shared.
Qed.

End Derivative.
