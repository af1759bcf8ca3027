package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/signed"
)

var keygenCommand = command{
	name: "keygen", args: "FILE",
	short: "make a key that signs snapshots",
	long: `Keygen makes an ed25519 key: the private half in FILE, which only its owner may read, and the public half in
FILE.pub. It prints the id of the key, by which messages name it. It never overwrites a file: the exit code is
then 2.

The private half is only for --sign-key of pull, on the host that pulls; the public half is for --verify-key
wherever snapshots are read. Both are PEM (PKCS #8 and PKIX), as openssl makes and reads them:

    openssl genpkey -algorithm ed25519 -out FILE; openssl pkey -in FILE -pubout -out FILE.pub`,
	noEnv: true,
	examples: `
kojisnap keygen /etc/kojisnap/sign.key
kojisnap pull -c stg.toml --sign-key /etc/kojisnap/sign.key
kojisnap load -c stg.toml --verify-key /etc/kojisnap/sign.key.pub`,
	setup: func(*config.Flags) runner { return runKeygen },
}

// keyFiles is keygen's result.
type keyFiles struct {
	ID      string `json:"id,omitempty"` // of a dry run: none
	Private string `json:"private"`
	Public  string `json:"public"`
}

func runKeygen(_ context.Context, a *app, args []string) error {
	if len(args) != 1 {
		return exit.Usagef("keygen wants one FILE for the private key")
	}
	file := args[0]
	result := keyFiles{Private: file, Public: signed.PublicFile(file)}
	if a.dryRun {
		if err := signed.CheckNew(file); err != nil {
			return keygenError(err)
		}
		show := func(w io.Writer) {
			fmt.Fprintf(w, "write %s\nwrite %s\n", output.Clean(result.Private), output.Clean(result.Public))
		}
		return errors.Join(a.result(result, show), exit.Pending())
	}
	key, err := signed.Generate(file)
	if err != nil {
		return keygenError(err)
	}
	result.ID = key.ID()
	return a.result(result, func(w io.Writer) { fmt.Fprintln(w, result.ID) })
}

func keygenError(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return exit.Usagef("keygen: %w; it stays as it is: choose another name, or move it away", err)
	}
	return fmt.Errorf("keygen: %w", err)
}

// useKeys makes openStore check signatures by the public keys in the files verify, and sign with the private key in
// the file sign, unless it is empty.
func (a *app) useKeys(sign string, verify ...[]string) error {
	var o signed.Options
	for _, files := range verify {
		for _, file := range files {
			keys, err := signed.ReadPublic(file)
			if err != nil {
				return exit.Usagef("verify-key: %w", err)
			}
			o.Trust = append(o.Trust, keys...)
		}
	}
	if sign != "" {
		key, err := signed.ReadPrivate(sign)
		if err != nil {
			return exit.Usagef("sign-key: %w", err)
		}
		o.Sign = &key
	}
	a.keys = o
	return nil
}

// usePullKeys is useKeys for commands that write snapshots. It refuses to write unsigned ones that the public keys
// would not accept.
func (a *app) usePullKeys(sign string, verify ...[]string) error {
	if err := a.useKeys(sign, verify...); err != nil {
		return err
	}
	if sign == "" && len(a.keys.Trust) > 0 {
		return exit.Usagef("--verify-key without --sign-key: the snapshot that is pulled would have no signature, and be refused; give the private key, or leave the public one to who reads")
	}
	return nil
}

// withKeys returns the store with the keys in use.
func (a *app) withKeys(s store.Store) store.Store {
	if s == nil || a.keys.Sign == nil && len(a.keys.Trust) == 0 {
		return s
	}
	return signed.New(s, a.keys)
}
