(* Statement 6 (activation-covariance), corollaries for a binary root: the covariance operator of a tree network's node.

     OP_mu = V_{z_0}[Kbar] = (1 - rho_0^2)/4 DK DK^T,    DK = E[K | z_0 = 1] - E[K | z_0 = 0],    rank at most n_L

   and the leading operator of every loss of r_+ - r_- is 2 xi(r(0, 1)) times the same matrix: losses differ in
   speed, not in direction.  Points are the two states of the root, augmentations the states of the rest of the tree.
   Theorems: binary_root_operator, binary_root_rank, binary_root_losses.
   Page: docs/mathematics/activation-covariance.md. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec Gradient DualGradient Population CovarianceOperator WeightedCovarianceOperator.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section BinaryRoot.

Variables (R : realFieldType) (A : finType) (prior : bool -> R) (q : bool -> A -> R).
Hypothesis prior_total : prior true + prior false = 1.
Variables (N m : nat) (K : bool -> A -> 'M[R]_(N, m)).

(* rho_0 = P(z_0 = 1) - P(z_0 = 0) *)
Definition rho0 : R := prior true - prior false.

(* DK = E[K | z_0 = 1] - E[K | z_0 = 0] *)
Definition root_gap : 'M[R]_(N, m) := bar q K true - bar q K false.

Let both (V : lmodType R) (F : bool -> V) : mean prior F = prior true *: F true + prior false *: F false.
Proof. by rewrite /mean big_bool. Qed.

Lemma prior_product : prior true * prior false = (1 - rho0 ^+ 2) / 4%:R.
Proof.
rewrite /rho0; have -> : prior false = 1 - prior true by rewrite -prior_total addrAC subrr add0r.
by field.
Qed.

Lemma variance_two_points : variance prior q K = (prior true * prior false) *: (root_gap *m root_gap^T).
Proof.
rewrite /variance /cov !both /root_gap; move: (bar q K true) (bar q K false) => U V.
have -> : prior false = 1 - prior true by rewrite -prior_total addrAC subrr add0r.
have -> : (U - V)^T = U^T - V^T by rewrite linearB.
move: (prior true) => a; rewrite !mulmxBl !mulmxBr !mulmxDl !mulmxDr -!scalemxAl -!scalemxAr.
move: (U *m U^T) (U *m V^T) (V *m U^T) (V *m V^T) => UU UV VU VV.
apply/matrixP=> i j; rewrite !mxE; move: (UU i j) (UV i j) (VU i j) (VV i j) => uu uv vu vv; ring.
Qed.

Theorem binary_root_operator : variance prior q K = ((1 - rho0 ^+ 2) / 4%:R) *: (root_gap *m root_gap^T).
Proof. by rewrite variance_two_points prior_product. Qed.

Theorem binary_root_rank : (\rank (variance prior q K) <= m)%N.
Proof.
rewrite binary_root_operator scalemxAl; apply: leq_trans (mxrankM_maxl _ _) _; exact: rank_leq_col.
Qed.

(* The pair weight enters as a factor only. *)
Theorem binary_root_losses (xi : R -> R) (f : bool -> A -> 'cV[R]_m) :
  weighted_variance prior q xi K f = (2%:R * xi (mean_distance q f true false)) *: variance prior q K.
Proof.
rewrite variance_two_points /weighted_variance /pairs !both !subrr !mul0mx !scaler0 add0r addr0 -/root_gap.
have sym : mean_distance q f false true = mean_distance q f true false by apply: distanceC.
have gapN : bar q K false - bar q K true = - root_gap by rewrite /root_gap opprB.
rewrite sym gapN linearN mulmxN mulNmx opprK; move: (xi _) (root_gap *m _) => z D.
by rewrite !scalerA -scalerDl; congr (_ *: _); ring.
Qed.

End BinaryRoot.
