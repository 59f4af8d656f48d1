"""The three ways in which a tier's requests are batched. Requests of all of them share one engine and one iteration.

Each module says by `may_join` which waiting requests of its mode may start in the iteration that is being composed;
decodes and begun prompts go on in any mode.
"""
