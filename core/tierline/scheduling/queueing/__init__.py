"""Who is served next: the order of requests, tenants and groups that wait."""
