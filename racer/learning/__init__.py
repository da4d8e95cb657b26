"""Learning to race: networks, PPO and evaluation, as one compiled program."""
