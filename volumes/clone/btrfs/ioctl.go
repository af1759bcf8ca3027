package btrfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	snapCreate  = 0x50009417 // BTRFS_IOC_SNAP_CREATE_V2
	snapDestroy = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
)

// createArgs is struct btrfs_ioctl_vol_args_v2 of linux/btrfs.h, destroyArgs struct btrfs_ioctl_vol_args.
type createArgs struct {
	FD             int64
	Transid, Flags uint64
	_              [4]uint64
	Name           [4040]byte
}

type destroyArgs struct {
	FD   int64
	Name [4088]byte
}

// snapshot makes a writable snapshot of a subvolume as dir/name.
func snapshot(subvolume, dir, name string) error {
	source, err := unix.Open(subvolume, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", subvolume, err)
	}
	defer unix.Close(source)
	args := createArgs{FD: int64(source)}
	copy(args.Name[:len(args.Name)-1], name)
	err = on(dir, snapCreate, unsafe.Pointer(&args))
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("snapshot of %s as %s: %w: only the owner of the subvolume, and root, may make one", subvolume, filepath.Join(dir, name), err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("no room for a clone in %s: %w", dir, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("snapshot of %s as %s: %w: the file system of both must be mounted for writing at dir", subvolume, filepath.Join(dir, name), err)
	case err != nil:
		return fmt.Errorf("snapshot of %s as %s: %w", subvolume, filepath.Join(dir, name), err)
	}
	return nil
}

// destroy removes the subvolume dir/name, whole, or not at all.
func destroy(dir, name string) error {
	var args destroyArgs
	copy(args.Name[:len(args.Name)-1], name)
	err := on(dir, snapDestroy, unsafe.Pointer(&args))
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("remove subvolume %s: %w: only root may, or mount the file system with user_subvol_rm_allowed", filepath.Join(dir, name), err)
	case errors.Is(err, unix.ENOTEMPTY):
		return fmt.Errorf("remove subvolume %s: %w: there are subvolumes in it", filepath.Join(dir, name), err)
	}
	return fmt.Errorf("remove subvolume %s: %w", filepath.Join(dir, name), err)
}

func on(dir string, call uintptr, arg unsafe.Pointer) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(fd)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), call, uintptr(arg)); e != 0 {
		return e
	}
	return nil
}
