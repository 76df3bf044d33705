(* Latent trees: the joint law, and total expectation along edges as a theorem.

     P(z | z_0 = i) = product of T(z_parent, z_child) over the edges
     E[h(subtree of c) | z_0 = i] = sum_j T_c(i, j) E[h(subtree of c) | z_c = j]    for every child c of the root

   Theorems: total_probability, total_expectation (one edge), markov (a path of any length).
   Page: docs/mathematics/activation-covariance.md.

   Every node has its states in S.  A forest is what hangs below a node: a list of children, each with its table and the
   forest below it.  Leaves are nodes with nothing below, and what a network computes is a function of the states. *)

From mathcomp Require Import all_ssreflect all_algebra ring.

Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Tree.

Variables (R : comRingType) (S : finType).

(* T i j = P(child = j | parent = i) *)
Definition table := S -> S -> R.
Definition is_table (T : table) : Prop := forall i, \sum_j T i j = 1.

Inductive forest : Type :=
| Nil : forest
| Cons (T : table) (below rest : forest) : forest.

Fixpoint proper (F : forest) : Prop :=
  match F with Nil => True | Cons T b r => is_table T /\ proper b /\ proper r end.

(* States of all nodes: of the first child, of what is below it, of the other children. *)
Fixpoint states (F : forest) : Type :=
  match F with Nil => unit | Cons _ b r => (S * (states b * states r))%type end.

Fixpoint all_states (F : forest) : seq (states F) :=
  match F return seq (states F) with
  | Nil => [:: tt]
  | Cons _ b r => [seq (j, z) | j <- index_enum S, z <- [seq (x, y) | x <- all_states b, y <- all_states r]]
  end.

(* The joint law given the state i of the parent: a product over the edges. *)
Fixpoint law (F : forest) (i : S) : states F -> R :=
  match F return states F -> R with
  | Nil => fun _ => 1
  | Cons T b r => fun z => T i z.1 * (law z.1 z.2.1 * law i z.2.2)
  end.

(* E[g | parent = i] *)
Definition expect (F : forest) (i : S) (g : states F -> R) : R := \sum_(z <- all_states F) law i z * g z.

Lemma expect_ext F i (g h : states F -> R) : g =1 h -> expect i g = expect i h.
Proof. by move=> E; apply: eq_bigr => z _; rewrite E. Qed.

Lemma expect_cons T b r i (g : states (Cons T b r) -> R) :
  expect i g = \sum_j T i j * expect (F := b) j (fun x => expect (F := r) i (fun y => g (j, (x, y)))).
Proof.
rewrite /expect /= big_allpairs_dep /=; apply: eq_bigr => j _.
rewrite big_allpairs_dep /= mulr_sumr; apply: eq_bigr => x _; rewrite !mulr_sumr; apply: eq_bigr => y _.
by rewrite !mulrA.
Qed.

Theorem total_probability F i (c : R) : proper F -> expect (F := F) i (fun _ => c) = c.
Proof.
elim: F i => [|T b IHb r IHr] i /=; first by rewrite /expect big_seq1 mul1r.
case=> table_T [proper_b proper_r]; rewrite expect_cons -[RHS]mul1r -(table_T i) mulr_suml.
by apply: eq_bigr => j _; rewrite -{2}(IHb j proper_b); congr (_ * _); apply: expect_ext => x; apply: IHr.
Qed.

(* The children of the root, their tables, and the part of the states that belongs to them. *)
Inductive child : forest -> Type :=
| First T b r : child (Cons T b r)
| Next T b r (c : child r) : child (Cons T b r).

Fixpoint table_of F (c : child F) : table :=
  match c with First T _ _ => T | Next _ _ _ c' => table_of c' end.

Fixpoint beneath F (c : child F) : forest :=
  match c with First _ b _ => b | Next _ _ _ c' => beneath c' end.

Fixpoint child_state F (c : child F) : states F -> S :=
  match c in child F return states F -> S with
  | First _ _ _ => fun z => z.1
  | Next _ _ _ c' => fun z => child_state c' z.2.2
  end.

Fixpoint child_states F (c : child F) : states F -> states (beneath c) :=
  match c as c0 in child F return states F -> states (beneath c0) with
  | First _ _ _ => fun z => z.2.1
  | Next _ _ _ c' => fun z => child_states c' z.2.2
  end.

Lemma proper_child F (c : child F) : proper F -> is_table (table_of c) /\ proper (beneath c).
Proof. by elim: c => {F} [T b r|T b r c IH] /= [? [? ?]] //; apply: IH. Qed.

(* Total expectation along an edge. *)
Theorem total_expectation F (c : child F) i (h : S -> states (beneath c) -> R) : proper F ->
  expect i (fun z => h (child_state c z) (child_states c z)) = \sum_j table_of c i j * expect j (h j).
Proof.
elim: c i h => {F} [T b r|T b r c IH] i h /= [table_T [proper_b proper_r]]; rewrite expect_cons /=.
  apply: eq_bigr => j _; congr (_ * _); apply: expect_ext => x; exact: total_probability.
rewrite -IH // -[RHS]mul1r -(table_T i) mulr_suml; apply: eq_bigr => j _; congr (_ * _).
exact: total_probability.
Qed.

(* Any node: the root, or a node below a child. *)
Inductive node : forest -> Type :=
| Root F : node F
| Down F (c : child F) (v : node (beneath c)) : node F.

Fixpoint below F (v : node F) : forest :=
  match v with Root F => F | Down _ _ u => below u end.

Fixpoint node_state F (v : node F) : S -> states F -> S :=
  match v in node F return S -> states F -> S with
  | Root _ => fun i _ => i
  | Down _ c u => fun _ z => node_state u (child_state c z) (child_states c z)
  end.

Fixpoint node_states F (v : node F) : states F -> states (below v) :=
  match v as v0 in node F return states F -> states (below v0) with
  | Root _ => fun z => z
  | Down _ c u => fun z => node_states u (child_states c z)
  end.

(* P(z_v = k | z_0 = i): tables multiplied along the path. *)
Fixpoint transition F (v : node F) : table :=
  match v with
  | Root _ => fun i k => (i == k)%:R
  | Down _ c u => fun i k => \sum_j table_of c i j * transition u j k
  end.

Lemma proper_below F (v : node F) : proper F -> proper (below v).
Proof. by elim: v => {F} [//|F c v IH] /(proper_child c) [_ ?]; apply: IH. Qed.

(* Given its own state, what is below a node does not depend on the root. *)
Theorem markov F (v : node F) i (h : S -> states (below v) -> R) : proper F ->
  expect i (fun z => h (node_state v i z) (node_states v z)) = \sum_k transition v i k * expect k (h k).
Proof.
elim: v i h => {F} [F|F c v IH] i h proper_F /=.
  rewrite (bigD1 i) //= eqxx mul1r big1 ?addr0 // => k /negPf ne.
  by rewrite eq_sym ne mul0r.
pose g j x := h (node_state v j x) (node_states v x).
rewrite (total_expectation i g) //.
under [RHS]eq_bigr do rewrite mulr_suml; rewrite exchange_big; apply: eq_bigr => j _ /=.
rewrite IH; first by rewrite mulr_sumr; apply: eq_bigr => k _; rewrite mulrA.
by have [] := proper_child c proper_F.
Qed.

End Tree.

Arguments Nil {R S}.
