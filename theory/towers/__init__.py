"""Statements 1 to 4: towers, connections and covariance operators, in symbols."""
