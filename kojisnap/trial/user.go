package trial

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// User is the user as whom files are read and linked. A nil *User is the process's user.
type User struct {
	Name   string
	UID    int
	GID    int
	Groups []int
}

// ErrNotRoot says that only root can work as another user.
var ErrNotRoot = errors.New("only root can work as another user")

// LookupUser finds a user of this machine. The error is ErrNotRoot if the process cannot work as that user.
func LookupUser(name string) (*User, error) {
	found, err := user.Lookup(name)
	if errors.As(err, new(user.UnknownUserError)) {
		return nil, fmt.Errorf("this machine has no user %q", name)
	}
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	u := &User{Name: found.Username}
	ids, err := found.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %q: %w", name, err)
	}
	if u.UID, err = strconv.Atoi(found.Uid); err == nil {
		u.GID, err = strconv.Atoi(found.Gid)
	}
	for _, id := range ids {
		var n int
		if n, err = strconv.Atoi(id); err != nil {
			break
		}
		u.Groups = append(u.Groups, n)
	}
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", name, err)
	}
	if os.Geteuid() != 0 && os.Geteuid() != u.UID {
		return nil, fmt.Errorf("user %q: %w", name, ErrNotRoot)
	}
	return u, nil
}

// Do calls fn with the user's rights to files. It uses setfsuid(2), with which the kernel also drops root's
// capabilities over files. Goroutines and programs that fn starts keep the process's rights.
func (u *User) Do(fn func() error) error {
	if u.own() {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		// Rights belong to the thread. It is never unlocked, so that it ends with the goroutine
		// and no other goroutine gets it; the raw calls of package unix change no other thread.
		runtime.LockOSThread()
		err := u.become()
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

func (u *User) own() bool { return u == nil || u.UID == os.Geteuid() }

func (u *User) become() error {
	if err := unix.Setgroups(u.Groups); err != nil {
		return fmt.Errorf("groups of user %q: %w", u.Name, err)
	}
	// Neither call reports failure: they return the previous id, so a second call returns the present one.
	unix.SetfsgidRetGid(u.GID)
	unix.SetfsuidRetUid(u.UID)
	gid, _ := unix.SetfsgidRetGid(-1)
	uid, _ := unix.SetfsuidRetUid(-1)
	if gid != u.GID || uid != u.UID {
		return fmt.Errorf("work as user %q: %w", u.Name, syscall.EPERM)
	}
	return nil
}

// attr makes programs run as the user.
func (u *User) attr() *syscall.SysProcAttr {
	if u.own() {
		return nil
	}
	c := &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}
	for _, g := range u.Groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return &syscall.SysProcAttr{Credential: c}
}
