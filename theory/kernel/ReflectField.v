(* Identities of rational functions with their side conditions, and gradients that contain quotients and roots.

     check_field n relations divided a b = true  ->  a = b in the reals, wherever the relations hold and nothing in the
                                                      list divided is 0
     check_gradient n roots divided i r g = true ->  g is the partial derivative of r by variable i, likewise

   Theorems: field_identity, gradient_identity.  Page: docs/mathematics/conventions.md.  Data format: Reflect.v.

   relations is a list of pairs (l, r) that say l = r, where l is a monomial such as P (X 5) 2; they are used n times at
   most as rewrite rules from left to right.  divided must contain every d of every D d in a and in b, written as
   in a and b; no element of divided may vanish identically, since the identity would say nothing then. *)

From Coq Require Import QArith Qreals Reals List Bool Setoid Lia Ring_polynom Ring_theory Field_theory InitialRing.
From Coq Require RealField.
From Coquelicot Require Import Coquelicot.
From Covop Require Import Reflect ReflectReals.
Import ListNotations.

Fixpoint to_field (e : expr) : FExpr Q :=
  match e with
  | X i => FEX Q i
  | K n d => FEc (Qmake n d)
  | A a b => FEadd (to_field a) (to_field b)
  | M a b => FEmul (to_field a) (to_field b)
  | P a n => FEpow (to_field a) n
  | D a => FEinv (to_field a)
  end.

Fixpoint same (a b : expr) : bool :=
  match a, b with
  | X i, X j => Pos.eqb i j
  | K m d, K n e => Z.eqb m n && Pos.eqb d e
  | A a b, A c d | M a b, M c d => same a c && same b d
  | P a m, P b n => same a b && N.eqb m n
  | D a, D b => same a b
  | _, _ => false
  end.

Definition relation := (expr * expr)%type.
Definition relations_of (l : list relation) : list (PExpr Q * PExpr Q) :=
  map (fun r => (to_ring (fst r), to_ring (snd r))) l.

Definition fraction (e : expr) : linear Q := Fnorm 0%Q 1%Q plus times minus Qopp Qeq_bool (to_field e).

(* Normal form of a polynomial after the relations. *)
Definition rules := mk_monpol_list 0%Q 1%Q plus times minus Qopp Qeq_bool (triv_div 0%Q 1%Q Qeq_bool).
Definition normal_by (n : nat) (l : list relation) (e : PExpr Q) : Pol Q :=
  norm_subst 0%Q 1%Q plus times minus Qopp Qeq_bool (triv_div 0%Q 1%Q Qeq_bool) n (rules (relations_of l)) e.

Definition covered (divided : list expr) (e : expr) : bool :=
  forallb (fun d => existsb (same d) divided) (divisors e).

Definition proper (l : list relation) : bool := forallb (fun r => polynomial (fst r) && polynomial (snd r)) l.

Definition check_field (n : nat) (l : list relation) (divided : list expr) (a b : expr) : bool :=
  proper l && covered divided a && covered divided b
  && forallb (fun d => negb (Peq Qeq_bool (normal_by n l (num (fraction d))) (Pc 0%Q))) divided
  && Peq Qeq_bool (normal_by n l (PEmul (num (fraction a)) (denum (fraction b))))
                  (normal_by n l (PEmul (num (fraction b)) (denum (fraction a)))).

Definition holds (v : positive -> R) (l : list relation) : Prop :=
  List.Forall (fun r => evalR v (fst r) = evalR v (snd r)) l.

Lemma same_eq a : forall b, same a b = true -> a = b.
Proof.
  induction a; intros [] E; simpl in E; try discriminate;
    rewrite ?andb_true_iff, ?Pos.eqb_eq, ?Z.eqb_eq, ?N.eqb_eq in E; try destruct E as [E1 E2]; f_equal; auto.
Qed.

Lemma covered_nonzero v divided e : covered divided e = true -> nonzero v divided -> nonzero v (divisors e).
Proof.
  unfold covered, nonzero; rewrite forallb_forall, 2Forall_forall; intros Cov N d In_d.
  destruct (proj1 (existsb_exists _ _) (Cov d In_d)) as [c [In_c E]]; rewrite (same_eq _ _ E); auto.
Qed.

Section Sound.

Let Rsth : Setoid_Theory R eq := @eq_equivalence R.
Let ext : ring_eq_ext Rplus Rmult Ropp eq := Eq_ext Rplus Rmult Ropp.
Let ext_inv : forall p q : R, p = q -> (/ p = / q)%R := fun p q E => f_equal Rinv E.
Let field := F2AF Rsth ext RealField.Rfield.
Let morph := reduced R 0%R 1%R Rplus Rmult Rminus Ropp Q2R rationals.
Let powers := pow_N_th 1%R Rmult Rsth.

Notation ring_value l e := (PEeval 0%R 1%R Rplus Rmult Rminus Ropp Q2R id_phi_N (pow_N 1%R Rmult) l e).
Notation field_value l e :=
  (FEeval 0%R 1%R Rplus Rmult Rminus Ropp Rdiv Rinv Q2R id_phi_N (pow_N 1%R Rmult) l e).
Notation conditions l e := (PCond 0%R 1%R Rplus Rmult Rminus Ropp eq Q2R id_phi_N (pow_N 1%R Rmult) l e).

Lemma eval_to_field v k e : (largest e <= k)%positive -> evalR v e = field_value (values R v k) (to_field e).
Proof.
  unfold evalR; induction e as [i|n d|a IHa b IHb|a IHa b IHb|a IHa m|a IHa]; simpl; intros le.
  - now rewrite nth_values.
  - reflexivity.
  - now rewrite IHa, IHb by lia.
  - now rewrite IHa, IHb by lia.
  - now rewrite IHa.
  - now rewrite IHa.
Qed.

(* Nonzero divisors make the conditions of the field normaliser hold. *)
Lemma conditions_hold v k e : (largest e <= k)%positive -> nonzero v (divisors e) ->
  conditions (values R v k) (condition (fraction e)).
Proof.
  unfold fraction; induction e as [i|n d|a IHa b IHb|a IHa b IHb|a IHa m|a IHa]; simpl; intros le N; auto.
  - apply Forall_app in N; destruct N; apply PCond_app; split; [apply IHa|apply IHb]; trivial; lia.
  - apply Forall_app in N; destruct N; apply PCond_app; split; [apply IHa|apply IHb]; trivial; lia.
  - inversion N as [|? ? Na Nr]; subst; apply PCond_cons; split; [|now apply IHa].
    intros Z; apply Na; rewrite (eval_to_field v k a le).
    rewrite (Fnorm_FEeval_PEeval Rsth ext ext_inv field morph powers) by (now apply IHa).
    rewrite Z; unfold Rdiv; apply Rmult_0_l.
Qed.

Lemma relations_hold v k l : proper l = true -> holds v l ->
  (forall r, In r l -> (largest (fst r) <= k)%positive /\ (largest (snd r) <= k)%positive) ->
  interp_PElist 0%R 1%R Rplus Rmult Rminus Ropp eq Q2R id_phi_N (pow_N 1%R Rmult) (values R v k) (relations_of l).
Proof.
  induction l as [|[p q] l IH]; [now intros|].
  change (proper ((p, q) :: l)) with (polynomial p && polynomial q && proper l); rewrite 2andb_true_iff;
    intros [[Pp Pq] Pl] H le.
  inversion H as [|? ? E Hl]; subst; simpl in E.
  assert (here : ring_value (values R v k) (to_ring p) = ring_value (values R v k) (to_ring q)).
  { destruct (le (p, q) (or_introl eq_refl));
    rewrite <- 2(eval_to_ring R 0%R 1%R Rplus Rmult Rminus Ropp Rinv Q2R) by trivial.
    exact E. }
  specialize (IH Pl Hl (fun r Hr => le r (or_intror Hr))); destruct l; [exact here|exact (conj here IH)].
Qed.

Fixpoint largest_in (l : list relation) : positive :=
  match l with [] => 1%positive | r :: l => Pos.max (Pos.max (largest (fst r)) (largest (snd r))) (largest_in l) end.

Lemma largest_in_le l r : In r l ->
  (largest (fst r) <= largest_in l)%positive /\ (largest (snd r) <= largest_in l)%positive.
Proof. induction l as [|s l IH]; simpl; [easy|]; intros [->|H]; [lia|specialize (IH H); lia]. Qed.

Theorem field_identity n l divided a b : check_field n l divided a b = true ->
  forall v, holds v l -> nonzero v divided -> evalR v a = evalR v b.
Proof.
  unfold check_field; rewrite !andb_true_iff; intros [[[[Pl Ca] Cb] _] E] v H N.
  pose (k := Pos.max (largest_in l) (Pos.max (largest a) (largest b))).
  rewrite (eval_to_field v k a), (eval_to_field v k b) by (unfold k; lia).
  refine (Field_correct Rsth ext ext_inv field morph powers
    (triv_div_th Rsth ext (Rth_ARth Rsth ext RealField.RTheory) morph) n (values R v k) (relations_of l) _ _ _
    eq_refl eq_refl eq_refl E _).
  - apply relations_hold; trivial; intros r Hr; generalize (largest_in_le l r Hr); unfold k; lia.
  - apply PCond_app; split; apply conditions_hold; try (unfold k; lia); eapply covered_nonzero; eauto.
Qed.

End Sound.

Definition squares (l : roots) : list relation := map (fun r => (P (X (fst r)) 2, snd r)) l.
Definition distinct (l : roots) : bool :=
  forallb (fun r => match root_of (fst r) l with Some e => same e (snd r) | None => false end) l.

Definition check_gradient (n : nat) (l : roots) (divided : list expr) (i : positive) (r g : expr) : bool :=
  flat l && distinct l && match root_of i l with None => true | Some _ => false end
  && match root_divisors l with [] => true | _ :: _ => false end
  && covered divided r && check_field n (squares l) divided (derivative l i r) g.

Theorem gradient_identity n l divided i r g : check_gradient n l divided i r g = true ->
  forall v, positive_roots v l -> nonzero (with_roots l v) divided ->
  is_derive (fun t => evalR (with_roots l (set_to R v i t)) r) (v i) (evalR (with_roots l v) g).
Proof.
  unfold check_gradient; rewrite !andb_true_iff; intros [[[[[F S] free] none] Cr] E] v pos N.
  rewrite <- (field_identity _ _ _ _ _ E (with_roots l v)); trivial.
  - apply partial_derivative; trivial.
    + destruct (root_of i l); [discriminate|reflexivity].
    + destruct (root_divisors l); [constructor|discriminate].
    + eapply covered_nonzero; eauto.
  - unfold holds, squares; apply Forall_forall; intros [p q] H; apply in_map_iff in H.
    destruct H as [[k e] [Eq Hin]]; injection Eq as <- <-; simpl fst; simpl snd.
    unfold distinct in S; rewrite forallb_forall in S; specialize (S _ Hin); simpl in S.
    destruct (root_of k l) as [f|] eqn:Ef; [|discriminate]; apply same_eq in S; subst f.
    rewrite <- (roots_squared l v k e F pos Ef); reflexivity.
Qed.

(* Example: 1/x + 1/y = (x + y)/(x y) where x and y are not 0. *)
Lemma sum_of_inverses : check_field 0 [] [X 1; X 2; M (X 1) (X 2)]
  (A (D (X 1)) (D (X 2))) (M (A (X 1) (X 2)) (D (M (X 1) (X 2)))) = true.
Proof. vm_compute; reflexivity. Qed.

Fail Example sum_of_inverses_wrong : check_field 0 [] [X 1; X 2; M (X 1) (X 2)]
  (A (D (X 1)) (D (X 2))) (D (M (X 1) (X 2))) = true := eq_refl.

(* Example: the derivative of x / sqrt(x^2 + y^2) by x is y^2 / sqrt(x^2 + y^2)^3. *)
Definition radius : roots := [(3%positive, A (P (X 1) 2) (P (X 2) 2))].

Lemma direction_derivative :
  check_gradient 4 radius [X 3; M (K 2 1) (X 3); P (X 3) 3] 1
    (M (X 1) (D (X 3))) (M (P (X 2) 2) (D (P (X 3) 3))) = true.
Proof. vm_compute; reflexivity. Qed.

Fail Example direction_derivative_wrong :
  check_gradient 4 radius [X 3; M (K 2 1) (X 3); P (X 3) 3] 1 (M (X 1) (D (X 3))) (M (P (X 1) 2) (D (P (X 3) 3))) = true
  := eq_refl.
