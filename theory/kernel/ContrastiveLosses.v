(* Statement 2 (contrastive-losses), arXiv 2010.00578 Theorem 2: what contrastive losses have in common.

     dL/dr_+ > 0,    dL/dr_k < 0,    dL/dr_+ + sum_k dL/dr_k = 0

   for the simple loss, the soft triplet loss and InfoNCE, for every number of negatives (the first two are averaged
   over the negatives).  Derivatives are those of real analysis (Coquelicot's is_derive).
   Theorem: contrastive_losses; pair_weight_expansion: the pair weight 1/(1 + exp(u/tau)) of the soft triplet loss and
   InfoNCE has the expansion that statement 4 asks for.
   Pages: docs/mathematics/contrastive-losses.md, weighted-covariance-operator.md.

   There are h + 1 negatives with the distances r 0, ..., r h. *)

From Coq Require Import Reals Lra Lia PeanoNat.
From Coquelicot Require Import Coquelicot.

Local Open Scope R_scope.

(* f 0 + ... + f h *)
Fixpoint sum (f : nat -> R) (h : nat) : R :=
  match h with O => f O | S h' => sum f h' + f (S h') end.

Definition set_at (r : nat -> R) (j : nat) (t : R) : nat -> R := fun k => if Nat.eqb k j then t else r k.

Lemma sum_ext f g h : (forall k, f k = g k) -> sum f h = sum g h.
Proof. intros E; induction h as [|h IH]; simpl; rewrite ?IH, E; reflexivity. Qed.

Lemma sum_opp f h : sum (fun k => - f k) h = - sum f h.
Proof. induction h as [|h IH]; simpl; rewrite ?IH; ring. Qed.

Lemma sum_scal a f h : sum (fun k => a * f k) h = a * sum f h.
Proof. induction h as [|h IH]; simpl; rewrite ?IH; ring. Qed.

Lemma sum_const a h : sum (fun _ => a) h = INR (S h) * a.
Proof. induction h as [|h IH]; [simpl; ring|]. rewrite S_INR; cbn [sum]; rewrite IH; ring. Qed.

Lemma sum_pos f h : (forall k, 0 < f k) -> 0 < sum f h.
Proof. intros P; induction h as [|h IH]; simpl; [apply P|generalize (P (S h)); lra]. Qed.

(* Only the term k = j depends on r_j. *)
Lemma sum_single d j h : (j <= h)%nat -> sum (fun k => if Nat.eqb k j then d else 0) h = d.
Proof.
  assert (Z : forall m, (m < j)%nat -> sum (fun k => if Nat.eqb k j then d else 0) m = 0).
  { induction m as [|m IH]; intros lt; cbn [sum].
    - destruct (Nat.eqb_spec 0 j); [lia|reflexivity].
    - rewrite IH by lia; destruct (Nat.eqb_spec (S m) j); [lia|ring]. }
  induction h as [|h IH]; intros le; cbn [sum].
  - destruct (Nat.eqb_spec 0 j); [reflexivity|lia].
  - destruct (Nat.eqb_spec (S h) j) as [E|N]; [rewrite Z by lia; ring|rewrite IH by lia; ring].
Qed.

Lemma derive_sum (f : nat -> R -> R) (x : R) (d : nat -> R) h :
  (forall k, is_derive (f k) x (d k)) -> is_derive (fun t => sum (fun k => f k t) h) x (sum d h).
Proof.
  intros D; induction h as [|h IH]; simpl; [apply D|].
  apply (is_derive_plus (fun t => sum (fun k => f k t) h) (f (S h))); [exact IH|apply D].
Qed.

(* A sum over the negatives of one function g of each, differentiated by r_j. *)
Lemma derive_negative (g : R -> R) (r : nat -> R) (d : R) j h : (j <= h)%nat -> is_derive g (r j) d ->
  is_derive (fun t => sum (fun k => g (set_at r j t k)) h) (r j) d.
Proof.
  intros le D; rewrite <- (sum_single d j h le); apply derive_sum; intros k; unfold set_at.
  destruct (Nat.eqb_spec k j) as [_|N]; [exact D|apply (@is_derive_const R_AbsRing)].
Qed.

Lemma sum_set_at (g : R -> R) r j h : sum (fun k => g (set_at r j (r j) k)) h = sum (fun k => g (r k)) h.
Proof. apply sum_ext; intros k; unfold set_at; destruct (Nat.eqb_spec k j) as [->|]; reflexivity. Qed.

(* The claim about a loss L of r_+ and of the negatives: its partial derivatives dp and dn exist, with these signs. *)
Definition in_family (L : R -> (nat -> R) -> R) (h : nat) : Prop :=
  forall rp r, exists dp dn,
    is_derive (fun t => L t r) rp dp /\
    (forall j, (j <= h)%nat -> is_derive (fun t => L rp (set_at r j t)) (r j) (dn j)) /\
    0 < dp /\ (forall j, (j <= h)%nat -> dn j < 0) /\ dp + sum dn h = 0.

Section Losses.

Variables (tau r0 : R) (h : nat).
Hypothesis tau_pos : 0 < tau.

Definition simple (rp : R) (r : nat -> R) : R := sum (fun k => rp - r k) h / INR (S h).
Definition triplet (rp : R) (r : nat -> R) : R :=
  sum (fun k => tau * ln (1 + exp ((rp - r k + r0) / tau))) h / INR (S h).
Definition infonce (rp : R) (r : nat -> R) : R :=
  - tau * ln (exp (- rp / tau) / (exp (- rp / tau) + sum (fun k => exp (- r k / tau)) h)).

Lemma negatives_pos : 0 < INR (S h).
Proof. apply lt_0_INR; lia. Qed.

Lemma exp_sum_pos r : 0 < sum (fun k => exp (- r k / tau)) h.
Proof. apply sum_pos; intros; apply exp_pos. Qed.

Lemma derive_infonce_pos S rp : 0 < S ->
  is_derive (fun t => - tau * ln (exp (- t / tau) / (exp (- t / tau) + S))) rp (S / (exp (- rp / tau) + S)).
Proof.
  intros P; generalize (exp_pos (- rp / tau)); intros Q; auto_derive.
  - repeat split; try lra; apply Rmult_lt_0_compat; [exact Q|apply Rinv_0_lt_compat; lra].
  - unfold Rdiv in *; field; repeat split; lra.
Qed.

Lemma derive_infonce_neg E (f : R -> R) x d : 0 < E -> 0 < f x -> is_derive f x d ->
  is_derive (fun t => - tau * ln (E / (E + f t))) x (tau * d / (E + f x)).
Proof.
  intros P Q D; auto_derive.
  - repeat split; try lra; [exists d; exact D|apply Rmult_lt_0_compat; [exact P|apply Rinv_0_lt_compat; lra]].
  - replace (Derive (fun t => f t) x) with d by (symmetry; apply is_derive_unique; exact D); unfold Rdiv; field;
    repeat split; lra.
Qed.

Lemma infonce_in_family : in_family infonce h.
Proof.
  intros rp r; set (E := exp (- rp / tau)); set (S := sum (fun k => exp (- r k / tau)) h).
  assert (Ep : 0 < E) by apply exp_pos; assert (Sp : 0 < S) by apply exp_sum_pos.
  assert (Zp : 0 < / (E + S)) by (apply Rinv_0_lt_compat; lra).
  exists (S / (E + S)), (fun j => (- / (E + S)) * exp (- r j / tau)); refine (conj _ (conj _ (conj _ (conj _ _)))).
  - apply derive_infonce_pos; exact Sp.
  - intros j le; unfold infonce; fold E.
    replace (- / (E + S) * exp (- r j / tau))
      with (tau * (- (1 / tau) * exp (- r j / tau)) / (E + sum (fun k => exp (- set_at r j (r j) k / tau)) h)).
    + apply (derive_infonce_neg E (fun t => sum (fun k => exp (- set_at r j t k / tau)) h)); trivial.
      * apply exp_sum_pos.
      * apply (derive_negative (fun u => exp (- u / tau))); [exact le|].
        auto_derive; [trivial|unfold Rdiv; field; lra].
    + rewrite (sum_set_at (fun u => exp (- u / tau))); fold S; field; lra.
  - apply Rmult_lt_0_compat; assumption.
  - intros j _; generalize (Rmult_lt_0_compat _ _ Zp (exp_pos (- r j / tau))); lra.
  - rewrite sum_scal; fold S; field; lra.
Qed.

Lemma simple_in_family : in_family simple h.
Proof.
  intros rp r; generalize negatives_pos; set (H := INR (S h)); intros Hp.
  exists 1, (fun _ => - / H); refine (conj _ (conj _ (conj _ (conj _ _)))).
  - unfold simple; fold H; replace 1 with (sum (fun _ => 1) h * / H) by (rewrite sum_const; fold H; field; lra).
    apply (is_derive_scal_l (fun t => sum (fun k => t - r k) h) rp (sum (fun _ => 1) h) (/ H)).
    apply derive_sum; intros k; auto_derive; [trivial|ring].
  - intros j le; unfold simple; fold H; replace (- / H) with (- 1 * / H) by (field; lra).
    apply (is_derive_scal_l (fun t => sum (fun k => rp - set_at r j t k) h) (r j) (- 1) (/ H)).
    apply (derive_negative (fun u => rp - u)); [exact le|]; auto_derive; [trivial|ring].
  - lra.
  - intros _ _; generalize (Rinv_0_lt_compat _ Hp); lra.
  - rewrite sum_const; fold H; field; lra.
Qed.

Definition sigmoid (u : R) : R := exp (u / tau) / (1 + exp (u / tau)).

Lemma sigmoid_pos u : 0 < sigmoid u.
Proof. generalize (exp_pos (u / tau)); intros; apply Rmult_lt_0_compat; [|apply Rinv_0_lt_compat]; lra. Qed.

Lemma triplet_in_family : in_family triplet h.
Proof.
  intros rp r; generalize negatives_pos; set (H := INR (S h)); intros Hp.
  assert (Ip : 0 < / H) by (apply Rinv_0_lt_compat; exact Hp).
  exists (sum (fun k => sigmoid (rp - r k + r0)) h * / H), (fun j => (- / H) * sigmoid (rp - r j + r0));
    refine (conj _ (conj _ (conj _ (conj _ _)))).
  - unfold triplet; fold H.
    apply (is_derive_scal_l (fun t => sum (fun k => tau * ln (1 + exp ((t - r k + r0) / tau))) h) rp
      (sum (fun k => sigmoid (rp - r k + r0)) h) (/ H)).
    apply derive_sum; intros k; generalize (exp_pos ((rp - r k + r0) / tau)); intros P; unfold sigmoid.
    auto_derive; unfold Rdiv, Rminus in *; [lra|field; lra].
  - intros j le; unfold triplet; fold H.
    replace (- / H * sigmoid (rp - r j + r0)) with (- sigmoid (rp - r j + r0) * / H) by ring.
    apply (is_derive_scal_l (fun t => sum (fun k => tau * ln (1 + exp ((rp - set_at r j t k + r0) / tau))) h) (r j)
      (- sigmoid (rp - r j + r0)) (/ H)).
    apply (derive_negative (fun u => tau * ln (1 + exp ((rp - u + r0) / tau)))); [exact le|].
    generalize (exp_pos ((rp - r j + r0) / tau)); intros P; unfold sigmoid; auto_derive; unfold Rdiv, Rminus in *;
      [lra|field; lra].
  - apply Rmult_lt_0_compat; [apply sum_pos; intros; apply sigmoid_pos|exact Ip].
  - intros j _; generalize (Rmult_lt_0_compat _ _ Ip (sigmoid_pos (rp - r j + r0))); lra.
  - rewrite sum_scal; ring.
Qed.

Theorem contrastive_losses : in_family simple h /\ in_family triplet h /\ in_family infonce h.
Proof. exact (conj simple_in_family (conj triplet_in_family infonce_in_family)). Qed.

End Losses.

(* The pair weight of ell(u) = tau ln(1 + exp(u/tau)), u = r_+ - r_-: InfoNCE with one negative; soft triplet loss
   with u + r_0 for u. *)
Section PairWeight.

Variable tau : R.
Hypothesis tau_pos : 0 < tau.

Definition ell (u : R) : R := tau * ln (1 + exp (u / tau)).
Definition pair_weight (r : R) : R := 1 / (1 + exp (r / tau)).
Definition pair_weight' (r : R) : R := - (exp (r / tau) / (1 + exp (r / tau)) ^ 2) / tau.
Definition pair_weight'' (r : R) : R := exp (r / tau) * (exp (r / tau) - 1) / (1 + exp (r / tau)) ^ 3 / tau ^ 2.

(* With one negative InfoNCE is ell (r_+ - r_-). *)
Lemma infonce_one rp r : infonce tau 0 rp r = ell (rp - r O).
Proof.
  unfold infonce, ell; cbn [sum]; generalize (exp_pos (- rp / tau)) (exp_pos (- r O / tau)); intros Pa Pb.
  replace (1 + exp ((rp - r O) / tau)) with (/ (exp (- rp / tau) / (exp (- rp / tau) + exp (- r O / tau)))).
  - rewrite ln_Rinv; [ring|apply Rdiv_lt_0_compat; lra].
  - replace ((rp - r O) / tau) with (- r O / tau + - (- rp / tau)) by (field; lra).
    rewrite exp_plus, (exp_Ropp (- rp / tau)); field; lra.
Qed.

Lemma pair_weight_derivative r : is_derive ell (- r) (pair_weight r).
Proof.
  unfold ell, pair_weight; generalize (exp_pos (- r / tau)) (exp_pos (r / tau)); intros P P'.
  auto_derive; [unfold Rdiv in *; lra|].
  replace (- r * / tau) with (- (r / tau)) by (unfold Rdiv; ring); rewrite exp_Ropp; field; repeat split; lra.
Qed.

Lemma pair_weight_derive r : is_derive pair_weight r (pair_weight' r).
Proof.
  unfold pair_weight, pair_weight'; generalize (exp_pos (r / tau)); intros P; auto_derive; unfold Rdiv in *; [lra|].
  field; split; lra.
Qed.

Lemma pair_weight_derive' r : is_derive pair_weight' r (pair_weight'' r).
Proof.
  unfold pair_weight', pair_weight''; generalize (exp_pos (r / tau)); intros P; auto_derive; unfold Rdiv in *.
  - apply Rgt_not_eq; apply Rmult_lt_0_compat; [lra|]; rewrite Rmult_1_r; lra.
  - field; split; lra.
Qed.

Lemma pair_weight''_bound r : Rabs (pair_weight'' r) <= / tau ^ 2.
Proof.
  unfold pair_weight''; set (z := exp (r / tau)); assert (P : 0 < z) by apply exp_pos.
  assert (T : 0 < tau ^ 2) by (apply pow_lt; exact tau_pos).
  assert (Q : 0 < (1 + z) ^ 3) by (apply pow_lt; lra).
  unfold Rdiv; rewrite Rabs_mult, (Rabs_pos_eq (/ tau ^ 2)) by (apply Rlt_le, Rinv_0_lt_compat; exact T).
  rewrite <- (Rmult_1_l (/ tau ^ 2)) at 2; apply Rmult_le_compat_r; [apply Rlt_le, Rinv_0_lt_compat; exact T|].
  rewrite Rabs_mult, (Rabs_pos_eq (/ (1 + z) ^ 3)) by (apply Rlt_le, Rinv_0_lt_compat; exact Q).
  apply Rmult_le_reg_r with ((1 + z) ^ 3); [exact Q|]; rewrite Rmult_assoc, Rinv_l, Rmult_1_r, Rmult_1_l by lra.
  apply Rabs_le; split; nra.
Qed.

(* xi (r + d) = xi r + d xi' r + O(d^2): the hypothesis of residue_second_order in WeightedCovarianceOperator.v. *)
Theorem pair_weight_expansion r d :
  Rabs (pair_weight (r + d) - pair_weight r - d * pair_weight' r) <= / tau ^ 2 * d ^ 2.
Proof.
  assert (T : 0 < / tau ^ 2) by (apply Rinv_0_lt_compat, pow_lt; exact tau_pos).
  pose (f t := pair_weight (r + t) - t * pair_weight' r).
  assert (D : forall t, is_derive f t (pair_weight' (r + t) - pair_weight' r)).
  { intros t; apply (is_derive_minus (fun t => pair_weight (r + t)) (fun t => t * pair_weight' r)).
    - rewrite <- (Rmult_1_l (pair_weight' (r + t))).
      apply (is_derive_comp pair_weight (fun t => r + t)); [apply pair_weight_derive|auto_derive; [trivial|ring]].
    - auto_derive; [trivial|ring]. }
  assert (D' : forall t, is_derive (fun t => pair_weight' (r + t)) t (pair_weight'' (r + t))).
  { intros t; rewrite <- (Rmult_1_l (pair_weight'' (r + t))).
    apply (is_derive_comp pair_weight' (fun t => r + t)); [apply pair_weight_derive'|auto_derive; [trivial|ring]]. }
  destruct (MVT_gen f 0 d (fun t => pair_weight' (r + t) - pair_weight' r)) as [c [[c1 c2] E]].
  - intros t _; apply D.
  - intros t _; apply derivable_continuous_pt; eexists; apply is_derive_Reals, D.
  - destruct (MVT_gen (fun t => pair_weight' (r + t)) 0 c (fun t => pair_weight'' (r + t))) as [e [_ E']].
    + intros t _; apply D'.
    + intros t _; apply derivable_continuous_pt; eexists; apply is_derive_Reals, D'.
    + replace (pair_weight (r + d) - pair_weight r - d * pair_weight' r) with (pair_weight'' (r + e) * c * d).
      2: { rewrite Rplus_0_r, Rminus_0_r in E'; rewrite <- E'; rewrite Rminus_0_r in E; rewrite <- E; unfold f.
           rewrite Rplus_0_r; ring. }
      rewrite !Rabs_mult; assert (B := pair_weight''_bound (r + e)).
      assert (Rabs c <= Rabs d).
      { unfold Rmin, Rmax in *; destruct (Rle_dec 0 d); unfold Rabs; destruct (Rcase_abs c), (Rcase_abs d); lra. }
      replace (d ^ 2) with (Rabs d * Rabs d) by (rewrite <- Rabs_mult; rewrite Rabs_pos_eq; [ring|nra]).
      rewrite <- Rmult_assoc; apply Rmult_le_compat_r; [apply Rabs_pos|].
      apply Rmult_le_compat; trivial; apply Rabs_pos.
Qed.

End PairWeight.
