(* Polynomial identities as data, decided by computation.

     check a b = true  ->  a = b in every commutative ring that contains the rationals, for all values of the variables

   Theorem: polynomial_identity.  Page: docs/mathematics/conventions.md.
   Rational functions are decided in ReflectField.v, gradients in ReflectReals.v.

   DATA FORMAT.  An exported file writes each side of an identity as a value of type expr:

     X i      variable number i, a positive number: X 1, X 2, ...
     K n d    rational constant n / d, d > 0: K 3 1, K (-1) 2, K 7 5
     A a b    a + b
     M a b    a * b
     P a n    a ^ n, n a natural number in binary: P (X 1) 2
     D a      1 / a, refused by check and read by check_field of ReflectField.v

   There is no difference and no quotient: a - b is A a (M (K (-1) 1) b), a / b is M a (D b).  Sums and products of many
   terms are written as balanced trees, so that the depth of an expression is logarithmic in its length.  Variables
   should have the smallest possible numbers; no number needs to be declared. *)

From Coq Require Export BinPos BinNat BinInt.
From Coq Require Import ZArith QArith List Bool Setoid Lia Ring_polynom Ring_theory BinList.

Inductive expr : Set :=
| X (i : positive)
| K (n : Z) (d : positive)
| A (a b : expr)
| M (a b : expr)
| P (a : expr) (n : N)
| D (a : expr).

Arguments X i%positive.
Arguments K n%Z d%positive.
Arguments P a n%N.

(* Rational arithmetic in lowest terms, with a short way for integers. *)
Definition plus (a b : Q) : Q :=
  match Qden a, Qden b with xH, xH => Qmake (Qnum a + Qnum b) 1 | _, _ => Qred (a + b) end.
Definition times (a b : Q) : Q :=
  match Qden a, Qden b with xH, xH => Qmake (Qnum a * Qnum b) 1 | _, _ => Qred (a * b) end.
Definition minus (a b : Q) : Q := plus a (Qopp b).

Definition sum_of := Padd 0%Q plus Qeq_bool.
Definition product_of := Pmul 0%Q 1%Q plus times Qeq_bool.

Fixpoint to_ring (e : expr) : PExpr Q :=
  match e with
  | X i => PEX Q i
  | K n d => PEc (Qmake n d)
  | A a b => PEadd (to_ring a) (to_ring b)
  | M a b => PEmul (to_ring a) (to_ring b)
  | P a n => PEpow (to_ring a) n
  | D _ => PEc 0%Q
  end.

Fixpoint polynomial (e : expr) : bool :=
  match e with
  | X _ | K _ _ => true
  | A a b | M a b => polynomial a && polynomial b
  | P a _ => polynomial a
  | D _ => false
  end.

(* Sparse Horner form, the normal form of Coq's ring tactic. *)
Definition normal (e : expr) : Pol Q := norm_aux 0%Q 1%Q plus times minus Qopp Qeq_bool (to_ring e).

Definition check (a b : expr) : bool := polynomial a && polynomial b && Peq Qeq_bool (normal a) (normal b).

(* Substitution of an expression for a variable, and whether a variable occurs. *)
Fixpoint subst (i : positive) (value e : expr) : expr :=
  match e with
  | X j => if Pos.eqb j i then value else X j
  | K n d => K n d
  | A a b => A (subst i value a) (subst i value b)
  | M a b => M (subst i value a) (subst i value b)
  | P a n => P (subst i value a) n
  | D a => D (subst i value a)
  end.

Fixpoint occurs (i : positive) (e : expr) : bool :=
  match e with
  | X j => Pos.eqb j i
  | K _ _ => false
  | A a b | M a b => occurs i a || occurs i b
  | P a _ | D a => occurs i a
  end.

(* Taylor certificate of a partial derivative: r(.., x_i + x_t, ..) = r + x_t g + x_t^2 c with a fresh variable x_t. *)
Definition taylor (i t : positive) (r g c : expr) : bool :=
  negb (Pos.eqb i t) && negb (occurs t r) && negb (occurs t g)
  && check (subst i (A (X i) (X t)) r) (A r (A (M (X t) g) (M (P (X t) 2) c))).

Fixpoint largest (e : expr) : positive :=
  match e with
  | X i => i
  | K _ _ => 1
  | A a b | M a b => Pos.max (largest a) (largest b)
  | P a _ | D a => largest a
  end.

Lemma Qmake_plus a b : (plus a b == a + b)%Q.
Proof.
  destruct a as [n [d|d|]], b as [m [e|e|]]; unfold plus; simpl Qden; cbv iota; try apply Qred_correct.
  unfold Qeq, Qplus; simpl; ring.
Qed.

Lemma Qmake_times a b : (times a b == a * b)%Q.
Proof.
  destruct a as [n [d|d|]], b as [m [e|e|]]; unfold times; simpl Qden; cbv iota; try apply Qred_correct.
  reflexivity.
Qed.

(* The ring tactic reads variables from a list. *)
Lemma skipn_twice T m n : forall l : list T, skipn m (skipn n l) = skipn (n + m) l.
Proof. induction n as [|n IH]; intros l; [reflexivity|destruct l; [now rewrite !skipn_nil|apply IH]]. Qed.

Lemma nth_skip T (d : T) m n : forall l, List.nth n (skipn m l) d = List.nth (m + n) l d.
Proof. induction m as [|m IH]; intros l; [reflexivity|destruct l; [destruct n; reflexivity|apply IH]]. Qed.

Lemma jump_skipn T p : forall l : list T, jump p l = skipn (Pos.to_nat p) l.
Proof.
  induction p as [p IH|p IH|]; intros l; simpl jump.
  - rewrite 2IH, skipn_twice, Pos2Nat.inj_xI; destruct l; [now rewrite !skipn_nil|].
    simpl; f_equal; lia.
  - rewrite 2IH, skipn_twice, Pos2Nat.inj_xO; f_equal; lia.
  - destruct l; reflexivity.
Qed.

Lemma nth_nil T (d : T) n : List.nth n nil d = d.
Proof. destruct n; reflexivity. Qed.

Lemma nth_of_list T (d : T) p : forall l, BinList.nth d p l = List.nth (pred (Pos.to_nat p)) l d.
Proof.
  induction p as [p IH|p IH|]; intros l; simpl BinList.nth.
  - rewrite IH, jump_skipn, nth_skip, Pos2Nat.inj_xI; destruct l as [|x l].
    + simpl tl; rewrite 2nth_nil; reflexivity.
    + simpl tl; replace (pred (S (2 * Pos.to_nat p))) with (S (Pos.to_nat p + pred (Pos.to_nat p))) by lia; reflexivity.
  - rewrite IH, jump_skipn, nth_skip, Pos2Nat.inj_xO; f_equal; lia.
  - destruct l; reflexivity.
Qed.

(* The values of variables 1 .. n. *)
Definition values T (v : positive -> T) (n : positive) : list T :=
  map (fun k => v (Pos.of_nat k)) (seq 1 (Pos.to_nat n)).

Lemma nth_values T d (v : positive -> T) n p : (p <= n)%positive -> BinList.nth d p (values T v n) = v p.
Proof.
  intros le; assert (lt : (pred (Pos.to_nat p) < Pos.to_nat n)%nat) by lia.
  rewrite nth_of_list; unfold values; rewrite nth_indep with (d' := v (Pos.of_nat 0));
    [|now rewrite map_length, seq_length].
  rewrite (map_nth (fun k => v (Pos.of_nat k))), seq_nth by exact lt.
  f_equal; rewrite <- (Pos2Nat.id p) at 2; f_equal; lia.
Qed.

Section Sound.

Variables (T : Type) (zero one : T) (add mul sub : T -> T -> T) (opp inv : T -> T) (constant : Q -> T).
Hypothesis ring : ring_theory zero one add mul sub opp eq.
Hypothesis constants : ring_morph zero one add mul sub opp eq 0%Q 1%Q Qplus Qmult Qminus Qopp Qeq_bool constant.

(* The value of an expression where variable i has the value v i. *)
Fixpoint eval (v : positive -> T) (e : expr) : T :=
  match e with
  | X i => v i
  | K n d => constant (Qmake n d)
  | A a b => add (eval v a) (eval v b)
  | M a b => mul (eval v a) (eval v b)
  | P a n => pow_N one mul (eval v a) n
  | D a => inv (eval v a)
  end.

Let ext : ring_eq_ext add mul opp eq := Eq_ext add mul opp.

Lemma constant_eq p q : (p == q)%Q -> constant p = constant q.
Proof. intros E; apply (morph_eq constants), Qeq_bool_iff, E. Qed.

Lemma reduced : ring_morph zero one add mul sub opp eq 0%Q 1%Q plus times minus Qopp Qeq_bool constant.
Proof.
  destruct constants as [m0 m1 madd msub mmul mopp meq]; constructor; trivial; intros x y.
  - now rewrite (constant_eq _ _ (Qmake_plus x y)).
  - unfold minus; now rewrite (constant_eq _ _ (Qmake_plus x (- y))), <- msub.
  - now rewrite (constant_eq _ _ (Qmake_times x y)).
Qed.

Lemma eval_to_ring v k e : polynomial e = true -> (largest e <= k)%positive ->
  eval v e = PEeval zero one add mul sub opp constant id_phi_N (pow_N one mul) (values T v k) (to_ring e).
Proof.
  induction e as [i|n d|a IHa b IHb|a IHa b IHb|a IHa m|a IHa]; simpl; try discriminate.
  - intros _ le; now rewrite nth_values.
  - reflexivity.
  - rewrite andb_true_iff; intros [Pa Pb] le; rewrite IHa, IHb by (trivial; lia); reflexivity.
  - rewrite andb_true_iff; intros [Pa Pb] le; rewrite IHa, IHb by (trivial; lia); reflexivity.
  - intros Pa le; rewrite IHa by trivial; reflexivity.
Qed.

Theorem polynomial_identity a b : check a b = true -> forall v, eval v a = eval v b.
Proof.
  unfold check; rewrite 2andb_true_iff; intros [[Pa Pb] E] v.
  pose (n := Pos.max (largest a) (largest b)).
  rewrite (eval_to_ring v n a), (eval_to_ring v n b) by (trivial; unfold n; lia).
  rewrite 2(norm_aux_spec (@eq_equivalence T) ext (Rth_ARth (@eq_equivalence T) ext ring) reduced
    (pow_N_th one mul (@eq_equivalence T))).
  exact (Peq_ok (@eq_equivalence T) ext reduced _ _ E _).
Qed.

Definition set_to (v : positive -> T) (i : positive) (x : T) : positive -> T := fun j => if Pos.eqb j i then x else v j.

Lemma eval_ext u v e : (forall i, occurs i e = true -> u i = v i) -> eval u e = eval v e.
Proof.
  induction e as [i|n d|a IHa b IHb|a IHa b IHb|a IHa m|a IHa]; simpl; intros E; trivial.
  - apply E, Pos.eqb_refl.
  - now rewrite IHa, IHb by (intros; apply E; rewrite orb_true_iff; tauto).
  - now rewrite IHa, IHb by (intros; apply E; rewrite orb_true_iff; tauto).
  - now rewrite IHa.
  - now rewrite IHa.
Qed.

Lemma eval_subst v i x e : eval v (subst i x e) = eval (set_to v i (eval v x)) e.
Proof.
  induction e as [j|n d|a IHa b IHb|a IHa b IHb|a IHa m|a IHa]; simpl; rewrite ?IHa, ?IHb; trivial.
  unfold set_to; destruct (Pos.eqb j i); reflexivity.
Qed.

Lemma eval_set v i x e : occurs i e = false -> eval (set_to v i x) e = eval v e.
Proof.
  intros F; apply eval_ext; intros j O; unfold set_to; destruct (Pos.eqb_spec j i) as [->|]; [congruence|reflexivity].
Qed.

(* r(.., v_i + s, ..) = r + s g + s^2 c *)
Theorem taylor_identity i t r g c : taylor i t r g c = true -> forall v s,
  eval (set_to v i (add (v i) s)) r
  = add (eval v r) (add (mul s (eval v g)) (mul (mul s s) (eval (set_to v t s) c))).
Proof.
  unfold taylor; rewrite !andb_true_iff, !negb_true_iff; intros [[[N Or] Og] E] v s.
  generalize (polynomial_identity _ _ E (set_to v t s)); rewrite eval_subst; simpl.
  rewrite (eval_set v t s r Or), (eval_set v t s g Og).
  replace (set_to v t s i) with (v i) by (unfold set_to; now rewrite N).
  replace (set_to v t s t) with s by (unfold set_to; now rewrite Pos.eqb_refl).
  intros <-; apply eval_ext; intros j O; unfold set_to.
  destruct (Pos.eqb j i); [reflexivity|].
  destruct (Pos.eqb_spec j t) as [->|]; [congruence|reflexivity].
Qed.

End Sound.

(* Example: (x + y/2)^2 = x^2 + x y + y^2/4, and not with y^2/2. *)
Definition square : expr := P (A (X 1) (M (K 1 2) (X 2))) 2.
Definition expanded (d : positive) : expr := A (A (P (X 1) 2) (M (X 1) (X 2))) (M (K 1 d) (P (X 2) 2)).

Lemma square_expanded : check square (expanded 4) = true.
Proof. vm_compute; reflexivity. Qed.

Fail Example square_wrong : check square (expanded 2) = true := eq_refl.
