(* Statement 7 (lucky-nodes): how many neurons make a lucky one likely.

     m >= log(delta) / log(1 - P)   <->   1 - (1 - P)^m >= 1 - delta,        0 < P < 1, 0 < delta

   1 - (1 - P)^m is the probability that some of m independent neurons is lucky (lucky_nodes of LuckyNodes.v).
   Theorem: neurons_needed.  Page: docs/mathematics/lucky-nodes.md. *)

From Coq Require Import Reals Lra.

Local Open Scope R_scope.

Theorem neurons_needed P delta m : 0 < P < 1 -> 0 < delta ->
  (ln delta / ln (1 - P) <= INR m <-> 1 - delta <= 1 - (1 - P) ^ m).
Proof.
  intros [P0 P1] D; assert (neg : ln (1 - P) < 0) by (rewrite <- ln_1; apply ln_increasing; lra).
  assert (L : ln ((1 - P) ^ m) = INR m * ln (1 - P)) by (rewrite ln_pow; lra).
  assert (pos : 0 < (1 - P) ^ m) by (apply pow_lt; lra).
  assert (E : ln delta = ln delta / ln (1 - P) * ln (1 - P)) by (field; lra).
  split; intros H.
  - assert (ln ((1 - P) ^ m) <= ln delta) by (rewrite L, E; nra).
    destruct (Rle_lt_dec ((1 - P) ^ m) delta) as [le|lt]; [lra|].
    generalize (ln_increasing _ _ D lt); lra.
  - assert (le : (1 - P) ^ m <= delta) by lra.
    assert (ln ((1 - P) ^ m) <= ln delta).
    { destruct le as [lt| ->]; [apply Rlt_le, ln_increasing; trivial|apply Rle_refl]. }
    rewrite L, E in H0; destruct (Rle_lt_dec (ln delta / ln (1 - P)) (INR m)) as [le'|lt]; [exact le'|nra].
Qed.
