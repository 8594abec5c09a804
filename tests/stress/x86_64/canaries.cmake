# Other ways to run the canaries: for each its name, the program's arguments, and its environment.
set(canary_variants xsave fxsave)
set(canary_xsave_arguments --vectors=xsave --part=4)
set(canary_fxsave_arguments --vectors=fxsave --part=4)
