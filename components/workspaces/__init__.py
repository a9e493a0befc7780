"""Where people work: notebooks, training, pipelines, serving."""
