"""The three batch APIs over one kind of job, which ends after some looks or some time."""
