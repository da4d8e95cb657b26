"""What every slice's HTTP shares: assembling the app, errors, middleware, health, serving."""
