package repository

import "kojisnap/dbsync/setup"

const LedgerPrefix = "ledgers/"

// EnvironmentObject names an object of an environment in a store.
func EnvironmentObject(prefix, env string) (string, error) {
	if env == "" {
		env = DefaultEnv
	}
	if err := setup.CheckEnvironment(env); err != nil {
		return "", err
	}
	return prefix + env, nil
}

// DefaultEnv is the name of the environment where none is given.
const DefaultEnv = "staging"
