(* Polynomial identities over the reals, and partial derivatives of expressions.

     check a b = true       ->  a = b for all real values of the variables
     derivative roots i e    =  the partial derivative of e by variable i, with real analysis as the judge

   Theorems: real_identity, partial_derivative, polynomial_derivative, taylor_derivative.
   Page: docs/mathematics/conventions.md.
   Data format: Reflect.v.  A root is a variable of its own: the pair (k, e) in a list of roots says X k = sqrt e, where
   e contains no variable of a root. *)

From Coq Require Import QArith Qreals Reals Lra Lia List Bool Ring_theory.
From Coq Require RealField.
From Coquelicot Require Import Coquelicot.
From Covop Require Import Reflect.
Import ListNotations.

Lemma rationals : ring_morph 0%R 1%R Rplus Rmult Rminus Ropp eq 0%Q 1%Q Qplus Qmult Qminus Qopp Qeq_bool Q2R.
Proof.
  constructor.
  - unfold Q2R; simpl; field.
  - unfold Q2R; simpl; field.
  - exact Q2R_plus.
  - exact Q2R_minus.
  - exact Q2R_mult.
  - exact Q2R_opp.
  - intros x y E; apply Qeq_eqR, Qeq_bool_iff; exact E.
Qed.

(* The value of an expression where variable i has the value v i. *)
Definition evalR : (positive -> R) -> expr -> R := eval R 1%R Rplus Rmult Rinv Q2R.

Theorem real_identity a b : check a b = true -> forall v, evalR v a = evalR v b.
Proof. exact (polynomial_identity R 0%R 1%R Rplus Rmult Rminus Ropp Rinv Q2R RealField.RTheory rationals a b). Qed.

(* Roots: variable k stands for sqrt e. *)
Definition roots := list (positive * expr).

Fixpoint root_of (k : positive) (l : roots) : option expr :=
  match l with [] => None | (j, e) :: rest => if Pos.eqb k j then Some e else root_of k rest end.

Definition with_roots (l : roots) (v : positive -> R) : positive -> R :=
  fun j => match root_of j l with Some e => sqrt (evalR v e) | None => v j end.

Fixpoint root_free (l : roots) (e : expr) : bool :=
  match e with
  | X j => match root_of j l with Some _ => false | None => true end
  | K _ _ => true
  | A a b | M a b => root_free l a && root_free l b
  | P a _ | D a => root_free l a
  end.

(* Everything that an expression divides by. *)
Fixpoint divisors (e : expr) : list expr :=
  match e with
  | X _ | K _ _ => []
  | A a b | M a b => divisors a ++ divisors b
  | P a _ => divisors a
  | D a => a :: divisors a
  end.

Definition nonzero (v : positive -> R) (l : list expr) : Prop := List.Forall (fun d => evalR v d <> 0%R) l.
Definition positive_roots (v : positive -> R) (l : roots) : Prop := List.Forall (fun r => (0 < evalR v (snd r))%R) l.

(* Partial derivative by variable i; first without roots. *)
Section Derivative.

Variable leaf : positive -> expr.

Fixpoint derivative_by (e : expr) : expr :=
  match e with
  | X j => leaf j
  | K _ _ => K 0 1
  | A a b => A (derivative_by a) (derivative_by b)
  | M a b => A (M (derivative_by a) b) (M a (derivative_by b))
  | P a n => match n with N0 => K 0 1 | Npos m => M (M (K (Zpos m) 1) (P a (N.pred n))) (derivative_by a) end
  | D a => M (K (-1) 1) (M (derivative_by a) (P (D a) 2))
  end.

End Derivative.

Definition derivative0 (i : positive) : expr -> expr := derivative_by (fun j => if Pos.eqb j i then K 1 1 else K 0 1).

(* The derivative of sqrt e is e' / (2 sqrt e). *)
Definition derivative (l : roots) (i : positive) : expr -> expr :=
  derivative_by (fun j =>
    match root_of j l with
    | Some e => M (derivative0 i e) (D (M (K 2 1) (X j)))
    | None => if Pos.eqb j i then K 1 1 else K 0 1
    end).

Lemma pow_N_nat x n : pow_N 1%R Rmult x n = (x ^ N.to_nat n)%R.
Proof.
  destruct n as [|p]; [reflexivity|]; simpl; induction p as [|p IH] using Pos.peano_ind; simpl; [ring|].
  rewrite Pos2Nat.inj_succ; simpl; rewrite <- IH.
  apply (pow_pos_succ (@RelationClasses.eq_equivalence R)); [now intros ? ? -> ? ? ->|].
  intros a b c; symmetry; apply Rmult_assoc.
Qed.

Lemma constant_Z n : Q2R (Qmake n 1) = IZR n.
Proof. unfold Q2R; simpl; field. Qed.

(* Variables that move as curves u, with the derivatives of the leaves. *)
Lemma derive_by (leaf : positive -> expr) (u : R -> positive -> R) (x : R) :
  (forall j, is_derive (fun t => u t j) x (evalR (u x) (leaf j))) ->
  forall e, nonzero (u x) (divisors e) ->
  is_derive (fun t => evalR (u t) e) x (evalR (u x) (derivative_by leaf e)).
Proof.
  intros leaves; induction e as [j|n d|a IHa b IHb|a IHa b IHb|a IHa n|a IHa]; simpl divisors; intros H.
  - apply leaves.
  - simpl; rewrite constant_Z; apply (@is_derive_const R_AbsRing).
  - apply Forall_app in H; destruct H as [Ha Hb].
    apply (is_derive_plus (fun t => evalR (u t) a) (fun t => evalR (u t) b)); auto.
  - apply Forall_app in H; destruct H as [Ha Hb]; simpl.
    generalize (is_derive_mult (fun t => evalR (u t) a) (fun t => evalR (u t) b) x _ _ (IHa Ha) (IHb Hb) Rmult_comm).
    exact (fun Z => Z).
  - specialize (IHa H); destruct n as [|m].
    + simpl; rewrite constant_Z; apply (@is_derive_const R_AbsRing).
    + apply is_derive_ext with (f := fun t => (evalR (u t) a ^ Pos.to_nat m)%R).
      { intros t; symmetry; exact (pow_N_nat _ (Npos m)). }
      replace (evalR (u x) (derivative_by leaf (P a (N.pos m))))
        with (INR (Pos.to_nat m) * evalR (u x) (derivative_by leaf a) * evalR (u x) a ^ pred (Pos.to_nat m))%R.
      { apply (is_derive_pow (fun t => evalR (u t) a) (Pos.to_nat m) x _ IHa). }
      unfold evalR; simpl eval; rewrite constant_Z, pow_N_nat, INR_IPR.
      replace (N.to_nat (Pos.pred_N m)) with (pred (Pos.to_nat m)) by lia.
      unfold IZR; ring.
  - inversion H as [|? ? Ha Hr]; subst.
    replace (evalR (u x) (derivative_by leaf (D a)))
      with (- evalR (u x) (derivative_by leaf a) / evalR (u x) a ^ 2)%R.
    { apply (is_derive_inv (fun t => evalR (u t) a)); auto. }
    change (evalR (u x) (derivative_by leaf (D a))) with
      (Q2R (Qmake (-1) 1) * (evalR (u x) (derivative_by leaf a) * (/ evalR (u x) a * / evalR (u x) a)))%R.
    rewrite constant_Z; field; exact Ha.
Qed.

Lemma derive0 v i e : nonzero v (divisors e) ->
  is_derive (fun t => evalR (set_to R v i t) e) (v i) (evalR v (derivative0 i e)).
Proof.
  intros H.
  assert (same : forall j, set_to R v i (v i) j = v j).
  { intros j; unfold set_to; destruct (Pos.eqb_spec j i) as [->|]; reflexivity. }
  assert (eq_at : forall a, evalR (set_to R v i (v i)) a = evalR v a) by (intros a; apply eval_ext; auto).
  rewrite <- (eq_at (derivative0 i e)); unfold derivative0; apply derive_by.
  - intros j; unfold set_to at 1; destruct (Pos.eqb j i); unfold evalR; simpl; rewrite constant_Z.
    + apply (@is_derive_id R_AbsRing).
    + apply (@is_derive_const R_AbsRing).
  - revert H; apply Forall_impl; intros a; rewrite eq_at; trivial.
Qed.

Definition root_divisors (l : roots) : list expr := flat_map (fun r => divisors (snd r)) l.

Lemma root_of_in k l e : root_of k l = Some e -> In (k, e) l.
Proof.
  induction l as [|[j f] l IH]; simpl; [discriminate|].
  destruct (Pos.eqb_spec k j) as [->|]; [intros [= ->]; now left|auto].
Qed.

(* No root contains the variable of a root. *)
Definition flat (l : roots) : bool := forallb (fun r => root_free l (snd r)) l.

Lemma eval_root_free l v e : root_free l e = true -> evalR (with_roots l v) e = evalR v e.
Proof.
  intros F; apply eval_ext; intros j; revert F; unfold with_roots.
  induction e as [k|n d|a IHa b IHb|a IHa b IHb|a IHa n|a IHa]; simpl; try discriminate; auto.
  - destruct (Pos.eqb_spec k j) as [->|]; [|discriminate]; destruct (root_of j l); [discriminate|trivial].
  - rewrite andb_true_iff, orb_true_iff; intros [Fa Fb] [O|O]; auto.
  - rewrite andb_true_iff, orb_true_iff; intros [Fa Fb] [O|O]; auto.
Qed.

Lemma derivative0_root_free l i e : root_free l e = true -> root_free l (derivative0 i e) = true.
Proof.
  induction e as [k|n d|a IHa b IHb|a IHa b IHb|a IHa n|a IHa]; simpl; intros F; auto.
  - destruct (Pos.eqb k i); reflexivity.
  - rewrite andb_true_iff in *; intuition.
  - rewrite !andb_true_iff in *; intuition.
  - destruct n; simpl; [reflexivity|]; rewrite F; auto.
  - rewrite F, andb_true_r; auto.
Qed.

Lemma flat_roots l k e : flat l = true -> root_of k l = Some e -> root_free l e = true.
Proof.
  unfold flat; rewrite forallb_forall; intros F E; exact (F _ (root_of_in _ _ _ E)).
Qed.

(* The relations X k ^ 2 = e hold. *)
Lemma roots_squared l v k e : flat l = true -> positive_roots v l -> root_of k l = Some e ->
  (with_roots l v k * with_roots l v k)%R = evalR (with_roots l v) e.
Proof.
  intros F pos E; rewrite (eval_root_free l v e (flat_roots _ _ _ F E)); unfold with_roots; rewrite E.
  apply sqrt_sqrt; apply root_of_in in E.
  apply Rlt_le; exact (proj1 (Forall_forall _ _) pos _ E).
Qed.

(* Variable i moves, and every root with it. *)
Theorem partial_derivative l v i e : flat l = true -> root_of i l = None ->
  positive_roots v l -> nonzero v (root_divisors l) -> nonzero (with_roots l v) (divisors e) ->
  is_derive (fun t => evalR (with_roots l (set_to R v i t)) e) (v i) (evalR (with_roots l v) (derivative l i e)).
Proof.
  intros F free pos H0 H.
  assert (same : forall j, set_to R v i (v i) j = v j).
  { intros j; unfold set_to; destruct (Pos.eqb_spec j i) as [->|]; reflexivity. }
  assert (eq_at : forall a, evalR (set_to R v i (v i)) a = evalR v a) by (intros a; apply eval_ext; auto).
  assert (roots_at : forall j, with_roots l (set_to R v i (v i)) j = with_roots l v j).
  { intros j; unfold with_roots; destruct (root_of j l); [now rewrite eq_at|apply same]. }
  assert (eq_with : forall a, evalR (with_roots l (set_to R v i (v i))) a = evalR (with_roots l v) a).
  { intros a; apply eval_ext; auto. }
  rewrite <- (eq_with (derivative l i e)); unfold derivative.
  apply (derive_by _ (fun t => with_roots l (set_to R v i t))); [intros j; rewrite eq_with|].
  - destruct (root_of j l) as [f|] eqn:E.
    + assert (In' := root_of_in _ _ _ E).
      assert (fpos : (0 < evalR v f)%R) by exact (proj1 (Forall_forall _ _) pos _ In').
      apply is_derive_ext with (f := fun t => sqrt (evalR (set_to R v i t) f)).
      { intros t; unfold with_roots; now rewrite E. }
      replace (evalR (with_roots l v) (M (derivative0 i f) (D (M (K 2 1) (X j)))))
        with (evalR v (derivative0 i f) * (/ (2 * sqrt (evalR (set_to R v i (v i)) f))))%R.
      * apply (is_derive_comp sqrt (fun t => evalR (set_to R v i t) f)); [|].
        { auto_derive; rewrite eq_at; [exact fpos|field]. apply Rgt_not_eq, sqrt_lt_R0, fpos. }
        { apply derive0; apply Forall_forall; intros d Hd; apply (proj1 (Forall_forall _ _) H0).
          unfold root_divisors; apply in_flat_map; exists (j, f); auto. }
      * unfold evalR; simpl eval; fold evalR; rewrite constant_Z.
        change (eval R 1%R Rplus Rmult Rinv Q2R) with evalR.
        rewrite (eval_root_free l v _ (derivative0_root_free _ _ _ (flat_roots _ _ _ F E))), eq_at.
        replace (with_roots l v j) with (sqrt (evalR v f)) by (unfold with_roots; now rewrite E); reflexivity.
    + apply is_derive_ext with (f := fun t => set_to R v i t j).
      { intros t; unfold with_roots; now rewrite E. }
      unfold set_to; destruct (Pos.eqb j i); unfold evalR; simpl; rewrite constant_Z.
      * apply (@is_derive_id R_AbsRing).
      * apply (@is_derive_const R_AbsRing).
  - revert H; apply Forall_impl; intros a; rewrite eq_with; trivial.
Qed.

(* For polynomials: the derivative is g wherever the identity holds. *)
Definition check_derivative (i : positive) (e g : expr) : bool := check (derivative0 i e) g && polynomial e.

Lemma polynomial_divisors e : polynomial e = true -> divisors e = [].
Proof.
  induction e; simpl; trivial; try discriminate.
  - rewrite andb_true_iff; intros [? ?]; now rewrite IHe1, IHe2.
  - rewrite andb_true_iff; intros [? ?]; now rewrite IHe1, IHe2.
Qed.

Theorem polynomial_derivative i e g : check_derivative i e g = true -> forall v,
  is_derive (fun t => evalR (set_to R v i t) e) (v i) (evalR v g).
Proof.
  unfold check_derivative; rewrite andb_true_iff; intros [E poly] v; rewrite <- (real_identity _ _ E v).
  apply derive0; rewrite (polynomial_divisors _ poly); constructor.
Qed.

(* The same from a Taylor certificate, which trusts no rule of differentiation: r(w + s) = r + s g + s^2 c. *)
Theorem taylor_derivative i t r g c : taylor i t r g c = true -> forall v s,
  evalR (set_to R v i (v i + s)%R) r = (evalR v r + s * evalR v g + s ^ 2 * evalR (set_to R v t s) c)%R.
Proof.
  intros E v s; unfold evalR.
  rewrite (taylor_identity R 0%R 1%R Rplus Rmult Rminus Ropp Rinv Q2R RealField.RTheory rationals i t r g c E v s).
  simpl; ring.
Qed.

(* Example: the derivative of x^2 y by x is 2 x y, and not x y. *)
Definition cubic : expr := M (P (X 1) 2) (X 2).

Lemma cubic_derivative : check_derivative 1 cubic (M (K 2 1) (M (X 1) (X 2))) = true.
Proof. vm_compute; reflexivity. Qed.

Lemma cubic_taylor : taylor 1 3 cubic (M (K 2 1) (M (X 1) (X 2))) (X 2) = true.
Proof. vm_compute; reflexivity. Qed.

Fail Example cubic_wrong : check_derivative 1 cubic (M (X 1) (X 2)) = true := eq_refl.
