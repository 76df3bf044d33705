(* Statement 1 (dual-gradient) for the tower itself, with the gates that its own pre-activations set.

     vec (dr/dW_1) = K_1 (K_1^T vec W_1 - K_2^T vec W_2)   where no pre-activation above W_1 is 0

   for (leaky) ReLU and linear neurons: slope 0, between 0 and 1, or 1.
   Theorems: relu_dual_gradient, relu_dual_gradient_shared.  Page: docs/mathematics/dual-gradient.md.

   Near a point where no pre-activation is 0 no gate changes (relu_fixed_gates), so that the fixed gates of
   DualGradient.v are those of the network on a neighbourhood. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec Gradient DualGradient.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Relu.

Variables (R : realFieldType) (slope : R).

Definition phi (p : R) : R := if 0 < p then p else slope * p.
Definition gates n (p : 'cV[R]_n) : 'rV[R]_n := \row_i (if 0 < p i 0 then 1 else slope).

(* What the network computes from p_l on: gate, weights, gate, ..., weights. *)
Inductive upper (m : nat) : nat -> Type :=
| UTop : upper m m
| UAbove n h (W : 'M[R]_(h, n)) (u : upper m h) : upper m n.

Fixpoint run m n (u : upper m n) : 'cV[R]_n -> 'cV[R]_m :=
  match u in upper _ n return 'cV[R]_n -> 'cV[R]_m with
  | UTop => fun p => p
  | UAbove _ _ W u' => fun p => run u' (W *m map_mx phi p)
  end.

Fixpoint gated m n (u : upper m n) : 'cV[R]_n -> above R m n :=
  match u in upper _ n return 'cV[R]_n -> above R m n with
  | UTop => fun _ => Top
  | UAbove _ _ W u' => fun p => Above (gates p) W (gated u' (W *m (gate (gates p) *m p)))
  end.

(* No pre-activation from p_l on is 0; the top layer has no gate. *)
Fixpoint alive m n (u : upper m n) : 'cV[R]_n -> Prop :=
  match u in upper _ n return 'cV[R]_n -> Prop with
  | UTop => fun _ => True
  | UAbove _ _ W u' => fun p => (forall i, p i 0 != 0) /\ alive u' (W *m (gate (gates p) *m p))
  end.

Lemma gate_phi n (p : 'cV[R]_n) : gate (gates p) *m p = map_mx phi p.
Proof.
apply/matrixP=> i j; rewrite (ord1 j) !mxE (bigD1 i) //= big1 => [|k /negPf Hk]; last first.
  by rewrite !mxE eq_sym Hk mulr0n mul0r.
by rewrite !mxE eqxx mulr1n addr0 /phi; case: ifP; rewrite ?mul1r.
Qed.

Lemma run_gated m n (u : upper m n) p : run u p = jacobian (gated u p) *m p.
Proof. by elim: u p => [|{}n h W u IH] p /=; rewrite ?mul1mx // -gate_phi IH !mulmxA. Qed.

Lemma split_room (P T s c : R) : P - P * (T * c) = P * ((1 - T * (1 + s)) + T * (1 + (s - c))).
Proof. by ring. Qed.

(* Near a point without zeros the gates do not change. *)
Lemma gates_near n (p q : 'cV[R]_n) : (forall i, p i 0 != 0) ->
  exists2 e : R, 0 < e & forall t, `|t| < e -> gates (p + t *: q) = gates p.
Proof.
move=> nz; pose s := \sum_i `|q i 0| / `|p i 0|.
have terms i : 0 <= `|q i 0| / `|p i 0| by rewrite mulr_ge0 ?invr_ge0.
have s_ge0 : 0 <= s by apply: sumr_ge0.
have s1_gt0 : 0 < 1 + s by apply: add_gt0.
exists (1 + s)^-1 => [|t small]; first by rewrite invr_gt0.
apply/matrixP=> z i; rewrite !mxE; suff -> : (0 < p i 0 + t * q i 0) = (0 < p i 0) by [].
have room : 0 < `|p i 0| - `|t * q i 0|.
  have p_gt0 : 0 < `|p i 0| by rewrite normr_gt0.
  have rest : 0 <= s - `|q i 0| / `|p i 0| by rewrite /s (bigD1 i) //= addrAC subrr add0r sumr_ge0.
  have left : 0 < 1 - `|t| * (1 + s).
    have : 0 < (1 + s) * ((1 + s)^-1 - `|t|) by rewrite mulr_gt0 // subr_gt0.
    by rewrite mulrBr mulfV ?gt_eqF // mulrC.
  have -> : `|t * q i 0| = `|p i 0| * (`|t| * (`|q i 0| / `|p i 0|)).
    by rewrite normrM mulrCA; congr (_ * _); rewrite mulrC divfK // gt_eqF.
  by rewrite (split_room _ _ s) mulr_gt0 // add_gt0 // mulr_ge0 // addr_ge0 // ler01.
have above : 0 <= t * q i 0 + `|t * q i 0| by rewrite addrC -[X in _ + X]opprK subr_ge0 -normrN ler_norm.
have below : 0 <= `|t * q i 0| - t * q i 0 by rewrite subr_ge0 ler_norm.
case: (ltrgt0P (p i 0)) (nz i) => // sign _; move: room.
  rewrite (gtr0_norm sign) => room.
  have -> : p i 0 + t * q i 0 = (p i 0 - `|t * q i 0|) + (t * q i 0 + `|t * q i 0|) by ring.
  exact: add_gt0.
rewrite (ltr0_norm sign) => room; apply/negbTE; rewrite -leNgt -oppr_ge0.
have -> : - (p i 0 + t * q i 0) = (- p i 0 - `|t * q i 0|) + (`|t * q i 0| - t * q i 0) by ring.
exact: ltW (add_gt0 room below).
Qed.

Lemma gated_near m n (u : upper m n) p q : alive u p ->
  exists2 e : R, 0 < e & forall t, `|t| < e -> gated u (p + t *: q) = gated u p.
Proof.
elim: u p q => [|{}n h W u IH] p q /=; first by exists 1; [exact: ltr01|].
case=> nz al; have [e1 e1_pos H1] := gates_near q nz.
have [e2 e2_pos H2] := IH _ (W *m (gate (gates p) *m q)) al.
have [e e_pos [le1 le2]] : exists2 e : R, 0 < e & e <= e1 /\ e <= e2.
  by case: (leP e1 e2) => [le|/ltW le]; [exists e1 | exists e2].
exists e => // t small; rewrite H1 ?(lt_le_trans small) //; congr (Above _ _ _).
by rewrite mulmxDr -scalemxAr mulmxDr -scalemxAr H2 // (lt_le_trans small).
Qed.

(* What lies below W_l: weights, gate, weights, gate, ... *)
Inductive lower (n0 : nat) : nat -> Type :=
| LInput : lower n0 n0
| LBelow n h (lo : lower n0 n) (W : 'M[R]_(h, n)) : lower n0 h.

Fixpoint feed n0 n (lo : lower n0 n) (x : 'cV[R]_n0) : 'cV[R]_n :=
  match lo in lower _ n return 'cV[R]_n with
  | LInput => x
  | LBelow _ _ lo' W => map_mx phi (W *m feed lo' x)
  end.

Fixpoint gated_below n0 n (lo : lower n0 n) (x : 'cV[R]_n0) : below R n0 n :=
  match lo in lower _ n return below R n0 n with
  | LInput => Input
  | LBelow _ _ lo' W => Below (gated_below lo' x) W (gates (W *m feed lo' x))
  end.

Lemma activation_gated n0 n (lo : lower n0 n) x : activation (gated_below lo x) x = feed lo x.
Proof. by elim: lo => //= {}n h lo IH W; rewrite IH gate_phi. Qed.

Section Network.

Variables (m n0 n h : nat) (lo : lower n0 n) (u : upper m h).

(* The network, its pre-activation at the layer of W, and its connection there. *)
Definition relu_net (W : 'M[R]_(h, n)) x : 'cV[R]_m := run u (W *m feed lo x).
Definition relu_above (W : 'M[R]_(h, n)) x : above R m h := gated u (W *m feed lo x).
Definition relu_connection (W : 'M[R]_(h, n)) x : 'M[R]_(n * h, m) :=
  connection (gated_below lo x) (relu_above W x) x.
Definition smooth_at (W : 'M[R]_(h, n)) x : Prop := alive u (W *m feed lo x).

Lemma relu_forward W x : relu_net W x = forward (plug (gated_below lo x) W (relu_above W x)) x.
Proof. by rewrite homogeneity activation_gated -mulmxA -run_gated. Qed.

(* K^T vec W = f *)
Theorem relu_key_identity W x : (relu_connection W x)^T *m vec W = relu_net W x.
Proof. by rewrite key_identity relu_forward. Qed.

Lemma relu_fixed_gates W dW x : smooth_at W x -> exists2 e : R, 0 < e & forall t, `|t| < e ->
  relu_net (W + t *: dW) x = forward (plug (gated_below lo x) (W + t *: dW) (relu_above W x)) x.
Proof.
move=> al; have [e e_pos H] := gated_near (dW *m feed lo x) al; exists e => // t small.
by rewrite relu_forward /relu_above mulmxDl -scalemxAl H.
Qed.

End Network.

Theorem relu_dual_gradient m n1 n h (lo1 : lower n1 n) (W1 : 'M[R]_(h, n)) (u1 : upper m h) x1
    n2 n' h' (lo2 : lower n2 n') (W2 : 'M[R]_(h', n')) (u2 : upper m h') x2 (G : 'M[R]_(h, n)) :
  let K1 := relu_connection lo1 u1 W1 x1 in
  let K2 := relu_connection lo2 u2 W2 x2 in
  smooth_at lo1 u1 W1 x1 ->
  is_gradient (fun V => distance (relu_net lo1 u1 V x1) (relu_net lo2 u2 W2 x2)) W1 G
  <-> vec G = K1 *m (K1^T *m vec W1 - K2^T *m vec W2).
Proof.
move=> K1 K2 al; set b1 := gated_below lo1 x1; set a1 := relu_above lo1 u1 W1 x1.
apply: iff_trans (vec_iff _ (vec_backward_gap b1 W1 a1 x1 (gated_below lo2 x2) W2 (relu_above lo2 u2 W2 x2) x2)).
rewrite -(relu_forward lo2 u2); apply: gradient_iff => dW; have [e pe H] := relu_fixed_gates dW al.
apply: derivative_local (distance_gradient b1 W1 a1 x1 _ dW); exists e => // t small.
by rewrite (H t small).
Qed.

Theorem relu_dual_gradient_shared m n0 n h (lo : lower n0 n) (W : 'M[R]_(h, n)) (u : upper m h) x1 x2
    (G : 'M[R]_(h, n)) :
  let K1 := relu_connection lo u W x1 in
  let K2 := relu_connection lo u W x2 in
  smooth_at lo u W x1 -> smooth_at lo u W x2 ->
  is_gradient (fun V => distance (relu_net lo u V x1) (relu_net lo u V x2)) W G
  <-> vec G = (K1 - K2) *m (K1 - K2)^T *m vec W.
Proof.
move=> K1 K2 al1 al2; set b1 := gated_below lo x1; set b2 := gated_below lo x2.
set a1 := relu_above lo u W x1; set a2 := relu_above lo u W x2.
apply: iff_trans (vec_iff _ (vec_backward_shared b1 b2 W a1 a2 x1 x2)).
apply: gradient_iff => dW; have [e1 pe1 H1] := relu_fixed_gates dW al1; have [e2 pe2 H2] := relu_fixed_gates dW al2.
have [e pe [le1 le2]] := smaller pe1 pe2.
apply: derivative_local (distance_gradient_shared b1 b2 W a1 a2 x1 x2 dW); exists e => // t small.
by rewrite (H1 t (lt_le_trans small le1)) (H2 t (lt_le_trans small le2)).
Qed.

End Relu.
