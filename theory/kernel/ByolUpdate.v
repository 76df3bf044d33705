(* BYOL with zero-mean outputs, predictor c and a target with the same weights, under stop-gradient:

     - E[grad_W L] = c (1 - c) V_x[Kbar] vec W - c^2 E_x V_aug[K] vec W,    L = 1/2 ||c f~(x_1) - f~'(x_+)||^2

   where f~ = f - E f over points and augmentations; the gradient flows through this mean and not through the target f'.
   For 0 < c < 1 the first term is c (1 - c) times the operator of statement 3: contrast without negatives.
   Without centring, with any linear predictor P and any target f' = K'^T vec W' that is held fixed:

     - E[grad_W L] = E_x[Kbar P^T Kbar'^T] vec W' - E_x[Kbar P^T P Kbar^T] vec W - E_x V_aug[K P^T] vec W

   Theorems: byol_update ((leaky) ReLU towers), byol_update_general (every differentiable network), byol_predictor.
   Page: docs/mathematics/covariance-operator.md for the operator. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec Gradient DualGradient Relu Population CovarianceOperator.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Connections.

Variables (R : realFieldType) (h n m : nat).
Implicit Types (f g : 'M[R]_(h, n) -> 'cV[R]_m) (W : 'M[R]_(h, n)) (K : 'M[R]_(n * h, m)).

Lemma connection_sub f g W K K' : is_connection f W K -> is_connection g W K' ->
  is_connection (fun V => f V - g V) W (K - K').
Proof.
move=> Hf Hg dW k; rewrite linearB mulmxBl mxE [X in _ + X]mxE.
by apply: derivative_ext (derivative_sub (Hf dW k) (Hg dW k)) => t; rewrite !mxE.
Qed.

Lemma connection_scale c f W K : is_connection f W K -> is_connection (fun V => c *: f V) W (c *: K).
Proof.
move=> Hf dW k; rewrite linearZ -scalemxAl mxE.
by apply: derivative_ext (derivative_scale c (Hf dW k)) => t; rewrite mxE.
Qed.

Lemma connection_mean (T : finType) (w : T -> R) (f : T -> 'M[R]_(h, n) -> 'cV[R]_m) W (K : T -> 'M[R]_(n * h, m)) :
  (forall t, is_connection (f t) W (K t)) -> is_connection (fun V => mean w (fun t => f t V)) W (mean w K).
Proof.
move=> H dW k; rewrite -mean_tr -mean_mulr mean_entry.
by apply: derivative_ext (derivative_mean w (fun t => H t dW k)) => s; rewrite [RHS]mean_entry.
Qed.

End Connections.

Section Statement.

Variables (R : realFieldType) (X A : finType) (p : X -> R) (q : X -> A -> R).
Hypothesis p_total : \sum_x p x = 1.
Hypothesis q_total : forall x, \sum_a q x a = 1.

(* E over points and augmentations. *)
Definition overall (V : lmodType R) (F : X -> A -> V) : V := mean p (bar q F).
Definition centred (V : lmodType R) (F : X -> A -> V) x a : V := F x a - overall F.

(* E over x_1, x_+ ~ q x, x ~ p. *)
Definition positive_pairs (V : lmodType R) (F : X -> A -> A -> V) : V :=
  mean p (fun x => mean (q x) (fun a1 => mean (q x) (F x a1))).

(* E_x Cov_aug[K, f] and E_x V_aug[K] *)
Definition cov_within N m k (K : X -> A -> 'M[R]_(N, m)) (f : X -> A -> 'M[R]_(m, k)) : 'M[R]_(N, k) :=
  mean p (within q K f).
Definition variance_within N m (K : X -> A -> 'M[R]_(N, m)) : 'M[R]_N := cov_within K (fun x a => (K x a)^T).

Lemma regroup (V : zmodType) (a b c d : V) : a - b - c = (d - b - c) + (a - d).
Proof. by rewrite [RHS]addrCA [d - b - c - d]addrAC [d - b - d]addrAC subrr sub0r addrA. Qed.

Lemma bar_centred (V : lmodType R) (F : X -> A -> V) x : bar q (centred F) x = bar q F x - overall F.
Proof. by rewrite /bar /centred mean_sub mean_const. Qed.

Lemma cov_centred N m k (K : X -> A -> 'M[R]_(N, m)) (f : X -> A -> 'M[R]_(m, k)) :
  mean p (fun x => bar q (centred K) x *m bar q (centred f) x) = cov p (bar q K) (bar q f).
Proof.
rewrite /cov (@mean_ext _ _ _ _ _ (fun x => (bar q K x *m bar q f x - bar q K x *m overall f)
  - (overall K *m bar q f x - overall K *m overall f))) => [|x].
  by rewrite !mean_sub mean_mulr mean_mull mean_const // /overall subrr subr0.
by rewrite !bar_centred mulmxBl !mulmxBr.
Qed.

(* Total covariance: between the points and within them. *)
Lemma overall_centred N m k (K : X -> A -> 'M[R]_(N, m)) (f : X -> A -> 'M[R]_(m, k)) :
  overall (fun x a => centred K x a *m centred f x a) = cov p (bar q K) (bar q f) + cov_within K f.
Proof.
have B x : bar q (fun x a => centred K x a *m centred f x a) x
    = bar q (centred K) x *m bar q (centred f) x + within q K f x.
  rewrite !bar_centred /within {1}/bar /centred.
  rewrite (@mean_ext _ _ _ _ _ (fun a => (K x a *m f x a - K x a *m overall f)
    - (overall K *m f x a - overall K *m overall f))) => [|a]; last by rewrite mulmxBl !mulmxBr.
  rewrite !mean_sub mean_mulr mean_mull mean_const // -/(bar q K x) -/(bar q f x) mulmxBl !mulmxBr.
  exact: regroup.
by rewrite /overall (mean_ext p B) mean_add cov_centred.
Qed.

Section General.

Variables (h n m : nat) (f : 'M[R]_(h, n) -> X -> A -> 'cV[R]_m) (W : 'M[R]_(h, n)) (c : R).
Variable K : X -> A -> 'M[R]_(n * h, m).
Hypothesis connected : forall x a, is_connection (fun V => f V x a) W (K x a).

(* V: weights of the online tower; the target keeps the weights W. *)
Definition byol_loss (V : 'M[R]_(h, n)) : R :=
  positive_pairs (fun x a1 ap => distance (c *: centred (f V) x a1) (centred (f W) x ap) : R^o).

Theorem byol_update_general G : is_gradient byol_loss W G <->
  - vec G = (c * (1 - c)) *: cov p (bar q K) (bar q (f W)) - c ^+ 2 *: cov_within K (f W).
Proof.
have C x a : is_connection (fun V => c *: centred (f V) x a) W (c *: centred K x a).
  apply: connection_scale; apply: (connection_sub (connected x a)).
  by apply: (@connection_mean _ _ _ _ X p (fun x V => bar q (f V) x)) => y;
    apply: (@connection_mean _ _ _ _ A (q y) (fun a V => f V y a)).
pose D x a1 ap := unvec ((c *: centred K x a1 - 0) *m (c *: centred (f W) x a1 - centred (f W) x ap)).
have H : is_gradient byol_loss W (positive_pairs D).
  by do 3!(apply: gradient_mean => ?); apply: distance_connection (C _ _) (connection_const _ W).
apply: iff_trans (gradient_iff _ H) _.
suff <- : - vec (positive_pairs D) = (c * (1 - c)) *: cov p (bar q K) (bar q (f W)) - c ^+ 2 *: cov_within K (f W).
  by split=> [->//|/oppr_inj/vec_inj].
have E : vec (positive_pairs D) = c ^+ 2 *: overall (fun x a => centred K x a *m centred (f W) x a)
    - c *: mean p (fun x => bar q (centred K) x *m bar q (centred (f W)) x).
  rewrite /positive_pairs /overall -mean_vec -!mean_scale -mean_sub; apply: mean_ext => x.
  rewrite -mean_vec /bar -[in RHS]mean_mulr -!mean_scale -mean_sub; apply: mean_ext => a1.
  rewrite -mean_vec -[in RHS]mean_mull -mean_scale.
  rewrite -[X in X - _](mean_const (q_total x)) -mean_sub; apply: mean_ext => ap.
  by rewrite unvecK subr0 mulmxBr -!scalemxAl -!scalemxAr scalerA -expr2.
by rewrite E overall_centred cov_centred scalerDr opprB mulrBr mulr1 -expr2 scalerBl opprD addrA.
Qed.

End General.

(* A linear predictor P on the online tower, no centring, a target that does not move. *)
Section Predictor.

Variables (h n m : nat) (f : 'M[R]_(h, n) -> X -> A -> 'cV[R]_m) (W : 'M[R]_(h, n)) (P : 'M[R]_m).
Variable K : X -> A -> 'M[R]_(n * h, m).
Hypothesis connected : forall x a, is_connection (fun V => f V x a) W (K x a).
Hypothesis homogeneous : forall x a, f W x a = (K x a)^T *m vec W.
Variables (N' : nat) (K' : X -> A -> 'M[R]_(N', m)) (w' : 'cV[R]_N').

Definition predictor_loss (V : 'M[R]_(h, n)) : R :=
  positive_pairs (fun x a1 ap => distance (P *m f V x a1) ((K' x ap)^T *m w') : R^o).

Let KP x a : 'M[R]_(n * h, m) := K x a *m P^T.

Lemma connection_predictor x a : is_connection (fun V => P *m f V x a) W (KP x a).
Proof.
move=> dW k; rewrite trmx_mul trmxK -mulmxA mxE.
have D := derivative_sum (index_enum _) (fun l => derivative_scale (P k l) (connected x a dW l)).
by apply: derivative_ext D => t; rewrite mxE.
Qed.

Theorem byol_predictor G : is_gradient predictor_loss W G <->
  - vec G = mean p (fun x => bar q K x *m P^T *m (bar q K' x)^T) *m w'
    - mean p (fun x => bar q K x *m P^T *m P *m (bar q K x)^T) *m vec W - variance_within KP *m vec W.
Proof.
pose D x a1 ap := unvec ((KP x a1 - 0) *m (P *m f W x a1 - (K' x ap)^T *m w')).
have H : is_gradient predictor_loss W (positive_pairs D).
  by do 3!(apply: gradient_mean => ?); apply: distance_connection (connection_predictor _ _) (connection_const _ W).
apply: iff_trans (gradient_iff _ H) _; set v := _ - _ - _; suff <- : - vec (positive_pairs D) = v.
  by split=> [->//|/oppr_inj/vec_inj].
have barKP x : bar q KP x = bar q K x *m P^T by rewrite /bar mean_mulr.
have E : vec (positive_pairs D) = overall (fun x a => KP x a *m (KP x a)^T) *m vec W
    - mean p (fun x => bar q KP x *m (bar q K' x)^T) *m w'.
  rewrite /positive_pairs /overall -mean_vec -!mean_mulr -mean_sub; apply: mean_ext => x.
  rewrite -mean_vec /bar -!mulmxA -!mean_mulr -mean_sub; apply: mean_ext => a1.
  rewrite -mean_vec -mean_tr -mean_mulr -mean_mull -[X in X - _](mean_const (q_total x)) -mean_sub.
  by apply: mean_ext => ap; rewrite unvecK subr0 mulmxBr homogeneous /KP trmx_mul trmxK !mulmxA.
have withinE : variance_within KP = overall (fun x a => KP x a *m (KP x a)^T)
    - mean p (fun x => bar q K x *m P^T *m P *m (bar q K x)^T).
  rewrite /variance_within /cov_within /overall -mean_sub; apply: mean_ext => x; rewrite /within; congr (_ - _).
  have -> : bar q (fun y a => (KP y a)^T) x = (bar q KP x)^T by apply: mean_tr.
  by rewrite barKP trmx_mul trmxK !mulmxA.
rewrite E /v withinE mulmxBl opprB; have -> : mean p (fun x => bar q KP x *m (bar q K' x)^T)
  = mean p (fun x => bar q K x *m P^T *m (bar q K' x)^T) by apply: mean_ext => x; rewrite barKP.
by rewrite opprB addrA subrK.
Qed.

End Predictor.

Section Relu.

Variables (slope : R) (n0 n h m : nat) (input : X -> A -> 'cV[R]_n0) (lo : lower R n0 n) (u : upper R m h).
Variables (W : 'M[R]_(h, n)) (c : R).
Hypothesis smooth : forall x a, smooth_at slope lo u W (input x a).

Theorem byol_update G :
  let f := relu_output slope input lo u in
  let K := relu_connections slope input lo u W in
  is_gradient (byol_loss f W c) W G <->
  - vec G = (c * (1 - c)) *: (variance p q K *m vec W) - c ^+ 2 *: (variance_within K *m vec W).
Proof.
move=> f K; have hom x a : f W x a = (K x a)^T *m vec W by rewrite /f /relu_output -relu_key_identity.
rewrite -(covariance_is_operator p q hom).
have -> : variance_within K *m vec W = cov_within K (f W).
  rewrite /variance_within /cov_within -mean_mulr; apply: mean_ext => x.
  have B : bar q (f W) x = bar q (fun x a => (K x a)^T) x *m vec W.
    by rewrite /bar -mean_mulr; apply: mean_ext => a; apply: hom.
  rewrite /within mulmxBl; congr (_ - _); last by rewrite B mulmxA.
  by rewrite -mean_mulr; apply: mean_ext => a; rewrite hom mulmxA.
exact: byol_update_general (relu_is_connection smooth) G.
Qed.

End Relu.

End Statement.
