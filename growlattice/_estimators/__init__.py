"""scikit-learn's side: the estimators, their parameters, pruning, and the table of a sweep."""
