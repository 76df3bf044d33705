(* Statement 7 (lucky-nodes): what over-parametrisation gives at the start of training.

     existence   P(some neuron has g_j >= t) = 1 - (1 - P_t)^m                      for m independent neurons
     gap         g_j = E[p_j | z_mu = 1] - E[p_j | z_mu = 0] = 2 w_j^T a_mu
     strength    s_j >= 1/2 (max(m_1, 0) - 1/2 (m_0 + sqrt(m_0^2 + v)))             for ReLU, m_z = E[p_j | z_mu = z],
                                                                                    v >= Var(p_j | z_mu = 0)

   Theorems: lucky_nodes (existence), preactivation_gap, strength, strength_leaky.  NeuronsNeeded.v has the number of
   neurons.  Page: docs/mathematics/lucky-nodes.md.

   Laws are finite here: weights that are not negative and sum to 1.  The law of the gap of uniform weights is not in
   this file. *)

From mathcomp Require Import all_ssreflect all_algebra ring.
From Covop Require Import Vec Gradient Relu Population LatentTree ActivationCovariance.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Existence.

Variables (R : comRingType) (T : finType) (w : T -> R).
Hypothesis total : \sum_t w t = 1.

Definition probability (U : finType) (law : U -> R) (event : pred U) : R := \sum_(u | event u) law u.

(* m independent draws. *)
Definition independent m (s : {ffun 'I_m -> T}) : R := \prod_j w (s j).

Lemma independent_total m : \sum_s independent (m := m) s = 1.
Proof. by rewrite /independent -(bigA_distr_bigA (fun (_ : 'I_m) t => w t)); apply: big1 => j _. Qed.

(* Existence: lucky t says that a neuron with the weights t has a gap of at least the level. *)
Theorem lucky_nodes m (lucky : pred T) :
  probability (independent (m := m)) (fun s => [exists j, lucky (s j)]) = 1 - (1 - probability w lucky) ^+ m.
Proof.
have -> : 1 - probability w lucky = \sum_t (if lucky t then 0 else w t).
  by rewrite -total (bigID lucky) /= /probability addrAC subrr add0r big_mkcond; apply: eq_bigr => t _; case: (lucky t).
have -> : (\sum_t (if lucky t then 0 else w t)) ^+ m
    = \sum_(s : {ffun 'I_m -> T} | ~~ [exists j, lucky (s j)]) independent s.
  rewrite -[m in LHS]card_ord -prodr_const bigA_distr_bigA /= [RHS]big_mkcond; apply: eq_bigr => s _.
  case: ifP => [/existsPn none|/negbFE/existsP [j yes]]; last by rewrite (bigD1 j) //= yes mul0r.
  by apply: eq_bigr => j _; rewrite (negPf (none j)).
rewrite -(independent_total m) (bigID (fun s : {ffun 'I_m -> T} => [exists j, lucky (s j)])) /=.
by rewrite -addrA subrr addr0.
Qed.

End Existence.

(* The gap of a pre-activation between the two states of a latent. *)
Section Gap.

Variables (R : realFieldType) (F : forest R [finType of bool]) (mu : node F) (n : nat).
Variables (nu : 'I_n -> child (below mu)) (f : forall k, bool -> states (beneath (nu k)) -> R) (w : 'cV[R]_n).
Hypothesis proper_F : proper F.

(* p = sum_k w_k f_k over the neurons of the children, given the state i of mu. *)
Definition preactivation (i : bool) (y : states (below mu)) : R :=
  \sum_k w k 0 * f (child_state (nu k) y) (child_states (nu k) y).

Theorem preactivation_gap :
  gap (fun i => expect i (preactivation i)) = 2%:R * (w^T *m a_mu f) 0 0.
Proof.
have E i : expect i (preactivation i) = \sum_k w k 0 * \sum_l table_of (nu k) i l * mean_given_child f k l.
  rewrite /expect /preactivation; under eq_bigr do rewrite mulr_sumr; rewrite exchange_big; apply: eq_bigr => k _.
  rewrite -(total_expectation i (fun l x => f (k := k) l x) (proper_below mu proper_F)) /expect mulr_sumr.
  by apply: eq_bigr => y _; rewrite mulrCA.
rewrite /gap !E -sumrB mxE mulr_sumr; apply: eq_bigr => k _; rewrite -mulrBr.
have [table_k _] := proper_child (nu k) (proper_below mu proper_F).
have := gap_apply (mean_given_child f k) table_k; rewrite {1}/gap => ->.
by rewrite !mxE /selectivity; field.
Qed.

End Gap.

(* Two laws of the pre-activation p of a neuron, given z_mu = 0 and z_mu = 1. *)
Section Strength.

Variables (R : rcfType) (T : finType) (law0 law1 : T -> R) (p : T -> R) (v : R).
Hypotheses (total0 : \sum_t law0 t = 1) (total1 : \sum_t law1 t = 1).
Hypotheses (law0_ge0 : forall t, 0 <= law0 t) (law1_ge0 : forall t, 0 <= law1 t).

Definition average (law : T -> R) (g : T -> R) : R := \sum_t law t * g t.

Local Notation m0 := (average law0 p).
Local Notation m1 := (average law1 p).
Hypothesis variance_le : average law0 (fun t => p t ^+ 2) - m0 ^+ 2 <= v.

(* s = 1/2 (E[f | 1] - E[f | 0]) with f = phi(p) *)
Definition strength_of (slope : R) : R :=
  (average law1 (fun t => phi slope (p t)) - average law0 (fun t => phi slope (p t))) / 2%:R.

Lemma average_le law (g h : T -> R) : (forall t, 0 <= law t) -> (forall t, g t <= h t) ->
  average law g <= average law h.
Proof. by move=> pos le; apply: ler_sum => t _; apply: le_mul. Qed.

Lemma average_const law c : \sum_t law t = 1 -> average law (fun _ => c) = c.
Proof. by move=> total; rewrite /average -mulr_suml total mul1r. Qed.

Lemma average_add law g h : average law (fun t => g t + h t) = average law g + average law h.
Proof. by rewrite /average -big_split; apply: eq_bigr => t _; rewrite mulrDr. Qed.

Lemma average_scale law c g : average law (fun t => c * g t) = c * average law g.
Proof. by rewrite /average mulr_sumr; apply: eq_bigr => t _; rewrite mulrCA. Qed.

Lemma relu_ge (x : R) : x <= phi 0 x /\ 0 <= phi 0 x.
Proof. by rewrite /phi mul0r; case: ltP => [/ltW|] le; split. Qed.

Lemma relu_abs (x : R) : phi 0 x = (x + `|x|) / 2%:R.
Proof.
rewrite /phi mul0r; case: ltP => [pos|neg]; first by rewrite gtr0_norm //; field.
by rewrite ler0_norm // subrr mul0r.
Qed.

Lemma le_of_squares (x y : R) : 0 <= y -> x ^+ 2 <= y ^+ 2 -> x <= y.
Proof.
move=> y_ge0 le; rewrite leNgt; apply/negP => lt.
have : 0 < (x - y) * (x + y).
  rewrite mulr_gt0 ?subr_gt0 //; apply: add_gt0 => //; exact: le_lt_trans lt.
by rewrite -subr_sqr subr_gt0 ltNge le.
Qed.

Lemma mean_abs_le : average law0 (fun t => `|p t|) <= Num.sqrt (m0 ^+ 2 + v).
Proof.
pose A := average law0 (fun t => `|p t|); pose Q := average law0 (fun t => p t ^+ 2).
have var : 0 <= Q - A ^+ 2.
  have -> : Q - A ^+ 2 = average law0 (fun t => (`|p t| - A) ^+ 2).
    have -> : average law0 (fun t => (`|p t| - A) ^+ 2)
        = average law0 (fun t => p t ^+ 2 + (- (2%:R * A) * `|p t| + A ^+ 2)).
      apply: eq_bigr => t _; have -> : p t ^+ 2 = `|p t| ^+ 2 by rewrite !expr2 -normrM -expr2 ger0_norm ?sqr_ge0.
      by congr (_ * _); ring.
    rewrite average_add average_add average_scale average_const // -/Q -/A; ring.
  by apply: sumr_ge0 => t _; rewrite mulr_ge0 ?sqr_ge0.
have le : A ^+ 2 <= m0 ^+ 2 + v.
  rewrite -subr_ge0; have -> : m0 ^+ 2 + v - A ^+ 2 = (v - (Q - m0 ^+ 2)) + (Q - A ^+ 2) by ring.
  by rewrite addr_ge0 // subr_ge0.
apply: le_of_squares; first exact: sqrtr_ge0.
rewrite sqr_sqrtr //; apply: le_trans le; exact: sqr_ge0.
Qed.

Theorem strength : 2%:R^-1 * (Num.max m1 0 - 2%:R^-1 * (m0 + Num.sqrt (m0 ^+ 2 + v))) <= strength_of 0.
Proof.
have up : Num.max m1 0 <= average law1 (fun t => phi 0 (p t)).
  rewrite /Order.max; case: ifP => _; last by apply: average_le => // t; case: (relu_ge (p t)).
  by rewrite -{1}(average_const 0 total1); apply: average_le => // t; case: (relu_ge (p t)).
have down : average law0 (fun t => phi 0 (p t)) <= 2%:R^-1 * (m0 + Num.sqrt (m0 ^+ 2 + v)).
  have -> : average law0 (fun t => phi 0 (p t)) = 2%:R^-1 * (m0 + average law0 (fun t => `|p t|)).
    rewrite -average_add -average_scale; apply: eq_bigr => t _; by rewrite relu_abs [_ / _]mulrC.
  by apply: le_mul; [rewrite invr_ge0 ler0n|apply: le_add; [exact: lexx|exact: mean_abs_le]].
rewrite /strength_of [_ / 2%:R]mulrC; apply: le_mul; first by rewrite invr_ge0 ler0n.
by apply: le_add => //; rewrite -subr_ge0 opprK addrC subr_ge0.
Qed.

(* Slope between 0 and 1 below zero; an equation at slope 1. *)
Theorem strength_leaky (slope : R) : slope <= 1 ->
  slope / 2%:R * (m1 - m0)
  + (1 - slope) * (2%:R^-1 * (Num.max m1 0 - 2%:R^-1 * (m0 + Num.sqrt (m0 ^+ 2 + v)))) <= strength_of slope.
Proof.
move=> le1; have -> : strength_of slope = slope / 2%:R * (m1 - m0) + (1 - slope) * strength_of 0.
  have E law : average law (fun t => phi slope (p t))
      = slope * average law p + (1 - slope) * average law (fun t => phi 0 (p t)).
    rewrite -!average_scale -average_add; apply: eq_bigr => t _; congr (_ * _); rewrite /phi mul0r; case: ifP => _;
      ring.
  rewrite /strength_of !E; move: (average law1 (fun t => phi 0 (p t))) (average law0 (fun t => phi 0 (p t))) => a b.
  by field.
by apply: le_add; [exact: lexx|apply: le_mul; [rewrite subr_ge0|exact: strength]].
Qed.

End Strength.
