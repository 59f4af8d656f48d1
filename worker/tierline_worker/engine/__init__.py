"""The engine: messages and plans in, tokens out; a thread of its own."""
