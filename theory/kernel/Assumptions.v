(* What each public theorem rests on: coqc prints it, one answer after each command.

   "Closed under the global context" means nothing but the logic of Coq.  Theorems about Coq's real numbers may rest on
   ClassicalDedekindReals.sig_not_dec, ClassicalDedekindReals.sig_forall_dec,
   FunctionalExtensionality.functional_extensionality_dep and Classical_Prop.classic, and on nothing else. *)

From Covop Require Reflect ReflectReals ReflectField.
From Covop Require Vec Gradient DualGradient Relu NormalizedOutput.
From Covop Require ContrastiveLosses Population CovarianceOperator WeightedCovarianceOperator ByolUpdate.
From Covop Require TwoLayer LatentTree ActivationCovariance BinaryRoot LuckyNodes NeuronsNeeded.

(* Conventions *)
Print Assumptions Vec.vec_mul.
Print Assumptions Vec.vec_mul_col.
Print Assumptions Vec.kronc_tr_vec.
Print Assumptions Gradient.gradient_unique.

(* Statement 1, dual-gradient *)
Print Assumptions DualGradient.cut_anywhere.
Print Assumptions DualGradient.homogeneity.
Print Assumptions DualGradient.key_identity.
Print Assumptions DualGradient.dual_gradient.
Print Assumptions DualGradient.dual_gradient_shared.
Print Assumptions Relu.relu_key_identity.
Print Assumptions Relu.relu_dual_gradient.
Print Assumptions Relu.relu_dual_gradient_shared.
Print Assumptions NormalizedOutput.dual_gradient_normalized.

(* Statement 2, contrastive-losses *)
Print Assumptions ContrastiveLosses.contrastive_losses.
Print Assumptions ContrastiveLosses.pair_weight_expansion.

(* Statement 3, covariance-operator *)
Print Assumptions Population.expect_update.
Print Assumptions CovarianceOperator.covariance_operator.
Print Assumptions CovarianceOperator.covariance_operator_one_branch.
Print Assumptions CovarianceOperator.covariance_operator_gated.
Print Assumptions CovarianceOperator.covariance_operator_general.
Print Assumptions CovarianceOperator.covariance_operator_general_one_branch.
Print Assumptions CovarianceOperator.variance_psd.
Print Assumptions CovarianceOperator.variance_symmetric.
Print Assumptions ByolUpdate.byol_update.
Print Assumptions ByolUpdate.byol_update_general.
Print Assumptions ByolUpdate.byol_predictor.

(* Statement 4, weighted-covariance-operator *)
Print Assumptions WeightedCovarianceOperator.weighted_covariance_operator.
Print Assumptions WeightedCovarianceOperator.weighted_covariance_operator_one_branch.
Print Assumptions WeightedCovarianceOperator.weighted_covariance_operator_general.
Print Assumptions WeightedCovarianceOperator.weighted_covariance_operator_general_one_branch.
Print Assumptions WeightedCovarianceOperator.residue_second_order.

(* Statement 5, two-layer-dynamics *)
Print Assumptions TwoLayer.two_layer_dynamics.
Print Assumptions TwoLayer.two_layer_decoupled.
Print Assumptions TwoLayer.uncorrelated_inputs.
Print Assumptions TwoLayer.two_layer_conserved.
Print Assumptions TwoLayer.two_layer_step.

(* Statement 6, activation-covariance *)
Print Assumptions LatentTree.total_probability.
Print Assumptions LatentTree.total_expectation.
Print Assumptions LatentTree.markov.
Print Assumptions ActivationCovariance.activation_covariance.
Print Assumptions ActivationCovariance.categorical_covariance.
Print Assumptions ActivationCovariance.categorical_rank.
Print Assumptions BinaryRoot.binary_root_operator.
Print Assumptions BinaryRoot.binary_root_rank.
Print Assumptions BinaryRoot.binary_root_losses.
Print Assumptions BinaryRoot.linear_operator.

(* Statement 7, lucky-nodes *)
Print Assumptions LuckyNodes.lucky_nodes.
Print Assumptions LuckyNodes.preactivation_gap.
Print Assumptions LuckyNodes.strength.
Print Assumptions LuckyNodes.strength_leaky.
Print Assumptions NeuronsNeeded.neurons_needed.

(* Exported identities *)
Print Assumptions Reflect.polynomial_identity.
Print Assumptions Reflect.taylor_identity.
Print Assumptions ReflectReals.real_identity.
Print Assumptions ReflectReals.polynomial_derivative.
Print Assumptions ReflectReals.partial_derivative.
Print Assumptions ReflectReals.taylor_derivative.
Print Assumptions ReflectField.field_identity.
Print Assumptions ReflectField.gradient_identity.
