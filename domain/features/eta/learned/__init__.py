"""A model of the ETA that was learned from a training set: its inputs, its trees and what it answers."""
