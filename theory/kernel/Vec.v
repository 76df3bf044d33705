(* Column-stacking vec and the Kronecker product, every index written out.

     vec (A X B) = (B^T kron A) vec X

   Theorem: vec_mul (and vec_mul_col, kronc_tr_vec for a column in place of a matrix).
   Page: docs/mathematics/conventions.md.

   Entry (b, a) of W sits at index a * n_l + b of vec W, and (P kron Q) has P a i * Q b j at row (a, b), column (i,
   j). *)

From mathcomp Require Import all_ssreflect all_algebra.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory.
Local Open Scope ring_scope.

(* Pairs (a, b), a < m, b < n, at position a * n + b. *)
Section Pairs.

Variables m n : nat.

Lemma pair_bound (a : 'I_m) (b : 'I_n) : (a * n + b < m * n)%N.
Proof.
apply: (@leq_trans (a.+1 * n)); last by rewrite leq_mul2r ltn_ord orbT.
by rewrite mulSn addnC ltn_add2r.
Qed.

Definition at_pair (a : 'I_m) (b : 'I_n) : 'I_(m * n) := Ordinal (pair_bound a b).

Lemma positive_below (k : 'I_(m * n)) : (0 < n)%N.
Proof. by case: k => i; rewrite lt0n => lt_i; apply: contraTneq lt_i => ->; rewrite muln0. Qed.

Lemma slow_bound (k : 'I_(m * n)) : (k %/ n < m)%N.
Proof. by rewrite ltn_divLR ?ltn_ord // (positive_below k). Qed.

Lemma fast_bound (k : 'I_(m * n)) : (k %% n < n)%N.
Proof. by rewrite ltn_mod (positive_below k). Qed.

Definition slow (k : 'I_(m * n)) : 'I_m := Ordinal (slow_bound k).
Definition fast (k : 'I_(m * n)) : 'I_n := Ordinal (fast_bound k).

Lemma slow_at a b : slow (at_pair a b) = a.
Proof.
apply: val_inj; rewrite /= divnMDl ?divn_small ?addn0 //.
by apply: leq_ltn_trans (ltn_ord b).
Qed.

Lemma fast_at a b : fast (at_pair a b) = b.
Proof. by apply: val_inj; rewrite /= modnMDl modn_small. Qed.

Lemma at_slow_fast k : at_pair (slow k) (fast k) = k.
Proof. by apply: val_inj; rewrite /= -divn_eq. Qed.

Lemma sum_pairs (R : zmodType) (F : 'I_(m * n) -> R) :
  \sum_k F k = \sum_a \sum_b F (at_pair a b).
Proof.
rewrite pair_big /=; apply: reindex => /=.
exists (fun k => (slow k, fast k)) => [[a b] _|k _] /=; last exact: at_slow_fast.
by rewrite slow_at fast_at.
Qed.

End Pairs.

Section VecKron.

Variable R : comRingType.

(* Columns stacked. *)
Definition vec m n (A : 'M[R]_(m, n)) : 'cV[R]_(n * m) := \col_k A (fast k) (slow k).

Definition kron m n p q (A : 'M[R]_(m, n)) (B : 'M[R]_(p, q)) : 'M[R]_(m * p, n * q) :=
  \matrix_(i, j) (A (slow i) (slow j) * B (fast i) (fast j)).

Lemma vecE m n (A : 'M[R]_(m, n)) a b : vec A (at_pair a b) 0 = A b a.
Proof. by rewrite mxE fast_at slow_at. Qed.

Lemma kronE m n p q (A : 'M[R]_(m, n)) (B : 'M[R]_(p, q)) a b i j :
  kron A B (at_pair a b) (at_pair i j) = A a i * B b j.
Proof. by rewrite mxE !fast_at !slow_at. Qed.

Lemma vec_inj m n : injective (@vec m n).
Proof. by move=> A B E; apply/matrixP=> b a; rewrite -(vecE A) -(vecE B) E. Qed.

Lemma vecD m n (A B : 'M[R]_(m, n)) : vec (A + B) = vec A + vec B.
Proof. by apply/matrixP=> k z; rewrite !mxE. Qed.

Lemma vecN m n (A : 'M[R]_(m, n)) : vec (- A) = - vec A.
Proof. by apply/matrixP=> k z; rewrite !mxE. Qed.

Lemma vecB m n (A B : 'M[R]_(m, n)) : vec (A - B) = vec A - vec B.
Proof. by rewrite vecD vecN. Qed.

Lemma vecZ m n c (A : 'M[R]_(m, n)) : vec (c *: A) = c *: vec A.
Proof. by apply/matrixP=> k z; rewrite !mxE. Qed.

Lemma tr_kron m n p q (A : 'M[R]_(m, n)) (B : 'M[R]_(p, q)) : (kron A B)^T = kron A^T B^T.
Proof. by apply/matrixP=> i j; rewrite !mxE. Qed.

(* vec (A X B) = (B^T kron A) vec X *)
Theorem vec_mul m n p q (A : 'M[R]_(m, n)) (X : 'M[R]_(n, p)) (B : 'M[R]_(p, q)) :
  vec (A *m X *m B) = kron B^T A *m vec X.
Proof.
apply/matrixP=> k z; rewrite ord1 {z} -[k]at_slow_fast vecE !mxE sum_pairs.
apply: eq_bigr=> i _; rewrite mxE mulr_suml; apply: eq_bigr=> j _.
by rewrite kronE vecE mxE mulrC mulrA.
Qed.

(* a kron B for a column a: m * 1 is not m for the type checker, so that it gets a definition of its own. *)
Definition kronc m p q (a : 'cV[R]_m) (B : 'M[R]_(p, q)) : 'M[R]_(m * p, q) :=
  \matrix_(i, j) (a (slow i) 0 * B (fast i) j).

Lemma kroncE m p q (a : 'cV[R]_m) (B : 'M[R]_(p, q)) i b j :
  kronc a B (at_pair i b) j = a i 0 * B b j.
Proof. by rewrite mxE fast_at slow_at. Qed.

(* The entries are those of the Kronecker product. *)
Lemma kronc_kron m p q (a : 'cV[R]_m) (B : 'M[R]_(p, q)) i j :
  kron a B i (at_pair ord0 j) = kronc a B i j.
Proof. by rewrite !mxE slow_at fast_at. Qed.

(* vec (A v b^T) = (b kron A) v *)
Theorem vec_mul_col m n p (A : 'M[R]_(m, n)) (v : 'cV[R]_n) (b : 'cV[R]_p) :
  vec (A *m v *m b^T) = kronc b A *m v.
Proof.
apply/matrixP=> k z; rewrite ord1 {z} -[k]at_slow_fast vecE !mxE big_ord1 !mxE mulrC mulr_sumr.
by apply: eq_bigr=> j _; rewrite kroncE mulrA.
Qed.

(* (b kron A^T)^T vec X = A X b *)
Theorem kronc_tr_vec m n p (A : 'M[R]_(m, n)) (X : 'M[R]_(n, p)) (b : 'cV[R]_p) :
  (kronc b A^T)^T *m vec X = A *m X *m b.
Proof.
apply/matrixP=> i z; rewrite ord1 {z} !mxE sum_pairs.
apply: eq_bigr=> j _; rewrite mxE mulr_suml; apply: eq_bigr=> l _.
by rewrite mxE kroncE vecE mxE mulrC [b j 0 * _]mulrC mulrA [X l j * _]mulrC.
Qed.

(* <A, B> = sum of A_ij B_ij = trace (A^T B) = vec(A)^T vec(B). *)
Definition inner m n (A B : 'M[R]_(m, n)) : R := \tr (A^T *m B).

Lemma innerE m n (A B : 'M[R]_(m, n)) : inner A B = \sum_i \sum_j A i j * B i j.
Proof.
rewrite /inner /mxtrace exchange_big /=; apply: eq_bigr=> j _; rewrite mxE.
by apply: eq_bigr=> i _; rewrite mxE.
Qed.

Lemma inner_vec m n (A B : 'M[R]_(m, n)) : inner A B = ((vec A)^T *m vec B) 0 0.
Proof.
rewrite innerE exchange_big mxE sum_pairs /=; apply: eq_bigr=> a _; apply: eq_bigr=> b _.
by rewrite mxE !vecE.
Qed.

Lemma innerC m n (A B : 'M[R]_(m, n)) : inner A B = inner B A.
Proof. by rewrite !innerE; apply: eq_bigr=> i _; apply: eq_bigr=> j _; rewrite mulrC. Qed.

Lemma innerDl m n (A B C : 'M[R]_(m, n)) : inner (A + B) C = inner A C + inner B C.
Proof. by rewrite /inner linearD mulmxDl linearD. Qed.

Lemma innerNl m n (A C : 'M[R]_(m, n)) : inner (- A) C = - inner A C.
Proof. by rewrite /inner linearN mulNmx linearN. Qed.

Lemma innerZl m n c (A C : 'M[R]_(m, n)) : inner (c *: A) C = c * inner A C.
Proof. by rewrite /inner linearZ -scalemxAl linearZ. Qed.

Lemma innerDr m n (A B C : 'M[R]_(m, n)) : inner C (A + B) = inner C A + inner C B.
Proof. by rewrite ![inner C _]innerC innerDl. Qed.

Lemma innerNr m n (A C : 'M[R]_(m, n)) : inner C (- A) = - inner C A.
Proof. by rewrite ![inner C _]innerC innerNl. Qed.

Lemma innerZr m n c (A C : 'M[R]_(m, n)) : inner C (c *: A) = c * inner C A.
Proof. by rewrite ![inner C _]innerC innerZl. Qed.

(* <G, dW> for all dW determines G. *)
Lemma inner_inj m n (A B : 'M[R]_(m, n)) : (forall C, inner A C = inner B C) -> A = B.
Proof.
move=> E; apply/matrixP=> i j; move: (E (delta_mx i j)); rewrite !innerE.
suff S (M : 'M[R]_(m, n)) : \sum_i0 \sum_j0 M i0 j0 * delta_mx i j i0 j0 = M i j by rewrite !S.
rewrite (bigD1 i) //= (bigD1 j) //= mxE !eqxx mulr1 !big1 ?addr0 //.
  by move=> k Hk; rewrite big1 // => l _; rewrite mxE (negPf Hk) mulr0.
by move=> l Hl; rewrite mxE (negPf Hl) andbF mulr0.
Qed.

(* <A v b^T, X> = <v, A^T X b> *)
Lemma inner_outer m n p (A : 'M[R]_(m, n)) (v : 'cV[R]_n) (b : 'cV[R]_p) (X : 'M[R]_(m, p)) :
  inner (A *m v *m b^T) X = inner v (A^T *m X *m b).
Proof. by rewrite /inner !trmx_mul trmxK -[in LHS](mulmxA b) mxtrace_mulC !mulmxA. Qed.

End VecKron.
