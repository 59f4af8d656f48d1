"""Resources: their models, rules and schemas, and the policy that they compile to."""
