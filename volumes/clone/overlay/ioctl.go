package overlay

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	btrfsGetFlags = 0x80089419 // BTRFS_IOC_SUBVOL_GETFLAGS
	btrfsReadOnly = 1 << 1     // BTRFS_SUBVOL_RDONLY
	fiemapCall    = 0xc020660b // FS_IOC_FIEMAP
	fiemapSync    = 1          // FIEMAP_FLAG_SYNC
	fiemapLast    = 0x1        // FIEMAP_EXTENT_LAST
	fiemapShared  = 0x2000     // FIEMAP_EXTENT_SHARED
)

func subvolumeFlags(fd int) (flags uint64, err error) {
	return flags, ioctl(fd, btrfsGetFlags, unsafe.Pointer(&flags))
}

func ioctl(fd int, call uintptr, arg unsafe.Pointer) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), call, uintptr(arg)); e != 0 {
		return e
	}
	return nil
}

// extent is struct fiemap_extent of linux/fiemap.h.
type extent struct {
	Logical, Physical, Length uint64
	_                         [2]uint64
	Flags                     uint32
	_                         [3]uint32
}

// fiemap is struct fiemap with room for some extents.
type fiemap struct {
	Start, Length        uint64
	Flags, Mapped, Count uint32
	_                    uint32
	Extents              [128]extent
}

// written returns the bytes of an open file that are its own on the disk: those that it does not share with another
// file. A file system that does not tell what is shared shares nothing.
func written(fd int) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	own, known := st.Blocks*512, int64(0)
	for start := uint64(0); own > 0; {
		m := fiemap{Start: start, Length: ^uint64(0) - start, Flags: fiemapSync, Count: 128}
		switch err := ioctl(fd, fiemapCall, unsafe.Pointer(&m)); err {
		case nil:
		case unix.EOPNOTSUPP, unix.ENOTTY:
			return own, nil
		default:
			return 0, err
		}
		if m.Mapped == 0 {
			break
		}
		for _, e := range m.Extents[:m.Mapped] {
			if e.Flags&fiemapShared == 0 {
				known += int64(e.Length)
			}
			start = e.Logical + e.Length
			if e.Flags&fiemapLast != 0 {
				return known, nil
			}
		}
	}
	return known, nil
}
