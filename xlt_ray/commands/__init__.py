"""What a person calls.

main            the command xlt-ray
store_commands  lists runs, rebuilds pages, removes what nobody uses
look            sentences of a run, with what its models say
ask             rows of a run that are worth a person's time
run_texts       the text of a run, and what its rounds and gold say of it
cli             flags, help, exit codes
self_train      run a method
recommend       which method fits
compare         methods and seeds in one table
significance    differences that are more than chance
presets         settings that ship with the package
sweep           search settings
sweep_config    its keys
trial           one trial
predict         label files
labelling       its steps
serve           label texts over HTTP
front           its door: tokens, limits, routes, counts
requests        what callers send and are answered
service_token   what they have to know
trained_models  finished runs and exported models
confidence      labels with probabilities
export          a model for other programs
push            an exported folder, to the hub
distil          into a stock architecture
"""
