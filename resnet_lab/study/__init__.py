"""Many runs: plan what is missing, drive it, store what it leaves."""
