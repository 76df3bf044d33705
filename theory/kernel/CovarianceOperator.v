(* Statement 3 (covariance-operator), arXiv 2010.00578 Theorem 3: the expected update of the simple loss.

     - E[grad_W L_simp] = 2 V_x[Kbar] vec W   (shared),    V_x[Kbar] vec W   (one branch),     L_simp = r_+ - r_-

   over every finite population, for every depth and all widths, and V_x[Kbar] is positive semidefinite.
   Theorems: covariance_operator and covariance_operator_one_branch ((leaky) ReLU towers with their own gates),
   covariance_operator_gated (any gates), covariance_operator_general (2 Cov_x[Kbar, fbar] for every differentiable
   network), variance_psd.  Page: docs/mathematics/covariance-operator.md. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec Gradient DualGradient Relu Population.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(* Networks as functions of the weights of one layer. *)
Section Connection.

Variables (R : realFieldType) (h n m : nat).
Implicit Types (f g : 'M[R]_(h, n) -> 'cV[R]_m) (W : 'M[R]_(h, n)) (K : 'M[R]_(n * h, m)).

(* K is the transposed Jacobian of the output by vec W: along dW the output changes by K^T vec dW. *)
Definition is_connection f W K : Prop :=
  forall dW k, is_derivative (fun t => f (W + t *: dW) k 0) ((K^T *m vec dW) k 0).

Lemma connection_const (c : 'cV[R]_m) W : is_connection (fun _ => c) W 0.
Proof. by move=> dW k; rewrite trmx0 mul0mx mxE; apply: derivative_const. Qed.

Definition unvec (v : 'cV[R]_(n * h)) : 'M[R]_(h, n) := \matrix_(b, a) v (at_pair a b) 0.

Lemma unvecK v : vec (unvec v) = v.
Proof. by apply/matrixP=> k z; rewrite ord1 {z} mxE mxE at_slow_fast. Qed.

Lemma inner_unvec v (dW : 'M[R]_(h, n)) : inner (unvec v) dW = (v^T *m vec dW) 0 0.
Proof. by rewrite inner_vec unvecK. Qed.

Lemma unvec_iff (v : 'cV[R]_(n * h)) (G : 'M[R]_(h, n)) : G = unvec v <-> vec G = v.
Proof. by split=> [->|E]; [apply: unvecK|apply: (@vec_inj R); rewrite unvecK]. Qed.

Lemma distance_connection f g W K K' : is_connection f W K -> is_connection g W K' ->
  is_gradient (fun V => distance (f V) (g V)) W (unvec ((K - K') *m (f W - g W))).
Proof.
move=> Hf Hg dW.
have E V : distance (f V) (g V) = 2%:R^-1 * \sum_k (f V k 0 - g V k 0) ^+ 2.
  by rewrite /distance innerE; congr (_ * _); apply: eq_bigr => k _; rewrite big_ord1 !mxE expr2.
have D := derivative_scale (2%:R^-1)
  (derivative_sum (index_enum _) (fun k => derivative_square (derivative_sub (Hf dW k) (Hg dW k)))).
have -> : inner (unvec ((K - K') *m (f W - g W))) dW = 2%:R^-1 * \sum_k
   2%:R * (f (W + 0 *: dW) k 0 - g (W + 0 *: dW) k 0) * ((K^T *m vec dW) k 0 - (K'^T *m vec dW) k 0).
  rewrite inner_unvec trmx_mul -mulmxA [(K - K')^T]linearB mulmxBl scale0r addr0 [LHS]mxE [RHS]mulr_sumr.
  apply: eq_bigr => k _; move: (K^T *m vec dW) (K'^T *m vec dW) (f W) (g W) => d d' u u'.
  by rewrite !mxE mulrA mulrA mulVf ?pnatr_eq0 // mul1r.
by apply: derivative_ext D => t; rewrite E.
Qed.

End Connection.

(* V_x[Kbar] = E[Kbar Kbar^T] - E[Kbar] E[Kbar]^T *)
Section Variance.

Variables (R : comRingType) (X A : finType) (p : X -> R) (q : X -> A -> R) (N m : nat) (K : X -> A -> 'M[R]_(N, m)).

Definition variance : 'M[R]_N := cov p (bar q K) (fun x => (bar q K x)^T).

(* Where f = K^T w the covariance of connection and output is an operator on w. *)
Lemma cov_homogeneous (w : 'cV[R]_N) : cov p (bar q K) (bar q (fun x a => (K x a)^T *m w)) = variance *m w.
Proof.
have E x : bar q (fun x a => (K x a)^T *m w) x = (bar q K x)^T *m w by rewrite /bar mean_mulr mean_tr.
rewrite /variance /cov mulmxBl -mulmxA; congr (_ - _); last congr (_ *m _); rewrite -mean_mulr.
  by apply: mean_ext => x; rewrite E mulmxA.
by apply: mean_ext => x; rewrite E.
Qed.

Lemma cov_bar_ext k (f g : X -> A -> 'M[R]_(m, k)) : (forall x a, f x a = g x a) ->
  cov p (bar q K) (bar q f) = cov p (bar q K) (bar q g).
Proof.
move=> E; have B x : bar q f x = bar q g x by apply: mean_ext => a; apply: E.
by rewrite /cov; congr (_ - _); last congr (_ *m _); apply: mean_ext => x; rewrite ?B.
Qed.

End Variance.

Section Semidefinite.

Variables (R : realFieldType) (X A : finType) (p : X -> R) (q : X -> A -> R).
Hypothesis p_total : \sum_x p x = 1.
Hypothesis p_ge0 : forall x, 0 <= p x.
Variables (N m : nat) (K : X -> A -> 'M[R]_(N, m)).

Lemma variance_centred :
  variance p q K = mean p (fun x => (bar q K x - mean p (bar q K)) *m (bar q K x - mean p (bar q K))^T).
Proof.
pose F x := bar q K x; rewrite /variance /cov -/F; set M := mean p F.
pose G x := F x *m (F x)^T - F x *m M^T - M *m (F x)^T + M *m M^T.
rewrite [RHS](@mean_ext _ _ _ _ _ G) => [|x]; last first.
  by rewrite /G linearB mulmxBl !mulmxBr opprB addrA addrAC.
by rewrite !mean_add !mean_opp mean_mulr mean_mull !mean_tr mean_const // -/M addrNK.
Qed.

Theorem variance_psd (v : 'cV[R]_N) : 0 <= (v^T *m variance p q K *m v) 0 0.
Proof.
rewrite variance_centred -mean_mull -mean_mulr mean_entry sumr_ge0 // => x _.
set C := bar q K x - _; apply: mulr_ge0 => //.
have -> : v^T *m (C *m C^T) *m v = (C^T *m v)^T *m (C^T *m v) by rewrite trmx_mul trmxK !mulmxA.
by rewrite mxE sumr_ge0 // => i _; rewrite mxE -expr2 sqr_ge0.
Qed.

Theorem variance_symmetric : (variance p q K)^T = variance p q K.
Proof.
rewrite variance_centred -mean_tr; apply: mean_ext => x.
by rewrite trmx_mul trmxK.
Qed.

End Semidefinite.

Section Statement.

Variables (R : realFieldType) (X A : finType) (p : X -> R) (q : X -> A -> R).
Hypothesis p_total : \sum_x p x = 1.
Hypothesis q_total : forall x, \sum_a q x a = 1.

Section Loss.

(* f V x a: the output for augmentation a of the point x where the layer under study has the weights V. *)
Variables (h n m : nat) (f : 'M[R]_(h, n) -> X -> A -> 'cV[R]_m).

(* E[r_+ - r_-] *)
Definition simple_loss (V : 'M[R]_(h, n)) : R :=
  expect p q (fun x x' a1 ap am => distance (f V x a1) (f V x ap) - distance (f V x a1) (f V x' am) : R^o).

(* The same with the weights V in the tower of x_1 alone, W in those of x_+ and x_-. *)
Definition simple_loss_one_branch (W V : 'M[R]_(h, n)) : R :=
  expect p q (fun x x' a1 ap am => distance (f V x a1) (f W x ap) - distance (f V x a1) (f W x' am) : R^o).

End Loss.

Section General.

Variables (h n m : nat) (f : 'M[R]_(h, n) -> X -> A -> 'cV[R]_m) (W : 'M[R]_(h, n)).
Variable K : X -> A -> 'M[R]_(n * h, m).
Hypothesis connected : forall x a, is_connection (fun V => f V x a) W (K x a).

Lemma gradient_expect (L : X -> X -> A -> A -> A -> 'M[R]_(h, n) -> R) (G : X -> X -> A -> A -> A -> 'M[R]_(h, n)) :
  (forall x x' a1 ap am, is_gradient (L x x' a1 ap am) W (G x x' a1 ap am)) ->
  is_gradient (fun V => expect p q (fun x x' a1 ap am => L x x' a1 ap am V : R^o)) W (expect p q G).
Proof. by move=> H; do 5!(apply: gradient_mean => ?). Qed.

Lemma gradient_sub (F F' : 'M[R]_(h, n) -> R) G G' : is_gradient F W G -> is_gradient F' W G' ->
  is_gradient (fun V => F V - F' V) W (G - G').
Proof. by move=> H H' dW; rewrite innerDl innerNl; apply: derivative_sub. Qed.

Lemma vec_expect (G : X -> X -> A -> A -> A -> 'M[R]_(h, n)) :
  vec (expect p q G) = expect p q (fun x x' a1 ap am => vec (G x x' a1 ap am)).
Proof. by apply: (expect_map p q (f := @vec R h n)) => [u v|c v]; rewrite ?vecD ?vecZ. Qed.

Theorem covariance_operator_general G :
  is_gradient (simple_loss f) W G <-> - vec G = 2%:R *: cov p (bar q K) (bar q (f W)).
Proof.
pose D x a y c := unvec ((K x a - K y c) *m (f W x a - f W y c)).
have H := gradient_expect (fun x x' a1 ap am => gradient_sub
  (distance_connection (connected x a1) (connected x ap)) (distance_connection (connected x a1) (connected x' am))).
apply: iff_trans (gradient_iff _ H) _.
have E : - vec (expect p q (fun x x' a1 ap am => D x a1 x ap - D x a1 x' am)) = 2%:R *: cov p (bar q K) (bar q (f W)).
  rewrite scaler_nat -expect_shared // vec_expect -expect_opp; apply: expect_ext => x x' a1 ap am.
  by rewrite vecB !unvecK opprB.
by rewrite -E; split=> [->//|/oppr_inj/vec_inj].
Qed.

Theorem covariance_operator_general_one_branch G :
  is_gradient (simple_loss_one_branch f W) W G <-> - vec G = cov p (bar q K) (bar q (f W)).
Proof.
pose D x a y c := unvec ((K x a - 0) *m (f W x a - f W y c)).
have H := gradient_expect (fun x x' a1 ap am => gradient_sub
  (distance_connection (connected x a1) (connection_const (f W x ap) W))
  (distance_connection (connected x a1) (connection_const (f W x' am) W))).
apply: iff_trans (gradient_iff _ H) _.
have E : - vec (expect p q (fun x x' a1 ap am => D x a1 x ap - D x a1 x' am)) = cov p (bar q K) (bar q (f W)).
  rewrite -expect_one_branch // vec_expect -expect_opp; apply: expect_ext => x x' a1 ap am.
  by rewrite vecB !unvecK !subr0 opprB.
by rewrite -E; split=> [->//|/oppr_inj/vec_inj].
Qed.

(* Homogeneity in the layer turns the covariance into an operator on the weights. *)
Hypothesis homogeneous : forall x a, f W x a = (K x a)^T *m vec W.

Lemma covariance_is_operator : cov p (bar q K) (bar q (f W)) = variance p q K *m vec W.
Proof. by rewrite (cov_bar_ext _ _ _ homogeneous) cov_homogeneous. Qed.

End General.

(* Towers whose gates are given. *)
Section Gated.

Variables (n0 n h m : nat) (input : X -> A -> 'cV[R]_n0) (b : X -> A -> below R n0 n) (u : X -> A -> above R m h).
Variable W : 'M[R]_(h, n).

Definition gated_output (V : 'M[R]_(h, n)) x a : 'cV[R]_m := forward (plug (b x a) V (u x a)) (input x a).
Definition gated_connection x a : 'M[R]_(n * h, m) := connection (b x a) (u x a) (input x a).

Lemma gated_is_connection x a : is_connection (fun V => gated_output V x a) W (gated_connection x a).
Proof.
move=> dW k; rewrite /gated_output /gated_connection /connection kronc_tr_vec.
apply: derivative_ext (derivative_linear (forward (plug (b x a) W (u x a)) (input x a) k 0) _) => t.
by rewrite forward_line !mxE.
Qed.

Theorem covariance_operator_gated G :
  is_gradient (simple_loss gated_output) W G <-> - vec G = 2%:R *: (variance p q gated_connection *m vec W).
Proof.
rewrite -(@covariance_is_operator _ _ _ gated_output) => [|x a]; last by rewrite /gated_output -key_identity.
exact: covariance_operator_general gated_is_connection G.
Qed.

End Gated.

(* (Leaky) ReLU towers, whose gates follow the weights. *)
Section Relu.

Variables (slope : R) (n0 n h m : nat) (input : X -> A -> 'cV[R]_n0) (lo : lower R n0 n) (u : upper R m h).
Variable W : 'M[R]_(h, n).

Definition relu_output (V : 'M[R]_(h, n)) x a : 'cV[R]_m := relu_net slope lo u V (input x a).
Definition relu_connections x a : 'M[R]_(n * h, m) := relu_connection slope lo u W (input x a).

(* No pre-activation above W is 0 on the population. *)
Hypothesis smooth : forall x a, smooth_at slope lo u W (input x a).

Lemma relu_is_connection x a : is_connection (fun V => relu_output V x a) W (relu_connections x a).
Proof.
move=> dW k; have [e pe H] := relu_fixed_gates dW (smooth x a).
pose line t := relu_net slope lo u W (input x a) + t *: ((relu_connections x a)^T *m vec dW).
apply: (derivative_local (f := fun t => line t k 0)).
  exists e => // t small; rewrite /relu_output /line (H t small) forward_line -relu_forward.
  by rewrite /relu_connections /relu_connection /connection kronc_tr_vec.
by apply: derivative_ext (derivative_linear (relu_net slope lo u W (input x a) k 0) _) => t; rewrite !mxE.
Qed.

Theorem covariance_operator G :
  is_gradient (simple_loss relu_output) W G <-> - vec G = 2%:R *: (variance p q relu_connections *m vec W).
Proof.
rewrite -(@covariance_is_operator _ _ _ relu_output) => [|x a]; last by rewrite /relu_output -relu_key_identity.
exact: covariance_operator_general relu_is_connection G.
Qed.

Theorem covariance_operator_one_branch G :
  is_gradient (simple_loss_one_branch relu_output W) W G <-> - vec G = variance p q relu_connections *m vec W.
Proof.
rewrite -(@covariance_is_operator _ _ _ relu_output) => [|x a]; last by rewrite /relu_output -relu_key_identity.
exact: covariance_operator_general_one_branch relu_is_connection G.
Qed.

End Relu.

End Statement.
