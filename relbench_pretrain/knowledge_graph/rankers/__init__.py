"""Rankers of candidates by the features of pairs: networks, boosted trees and baselines."""
