package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// loadPolicy reads the administrator's file, which is root's, and the
// person's, which is theirs or root's, and merges them. A missing file is
// fine; everything else that is wrong is a reason not to start, since running
// on without a policy would be running with a weaker one. It implements
// *Policy* (SPEC §6).
func loadPolicy(adminPath, personPath, home string) (*policy, error) {
	admin, err := loadPolicyFile(adminPath, home, 0)
	if err != nil {
		return nil, err
	}
	person, err := loadPolicyFile(personPath, home, 0, os.Getuid())
	if err != nil {
		return nil, err
	}
	return mergePolicy(admin, person), nil
}

// loadPolicyFile reads one file, or gives nil where there is none. It opens
// first and looks at what it opened, so nothing can be swapped in between, and
// refuses what somebody else could have written (SPEC §6). [POL-2]
func loadPolicyFile(path, home string, owners ...int) (*policyFile, error) {
	// Not blocking: a FIFO in its place must not hold the keeper up.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // [POL-3]
	case errors.Is(err, syscall.ELOOP):
		return nil, fmt.Errorf("policy %q is a symbolic link: put the file itself there", path)
	case err != nil:
		return nil, fmt.Errorf("failed to open policy %q: %w", path, errors.Unwrap(err))
	}
	defer file.Close()
	var stat syscall.Stat_t
	err = syscall.Fstat(int(file.Fd()), &stat)
	switch {
	case err != nil || stat.Mode&syscall.S_IFMT != syscall.S_IFREG:
		return nil, fmt.Errorf("policy %q is not a regular file", path)
	case !slices.Contains(owners, int(stat.Uid)):
		return nil, fmt.Errorf("policy %q has the wrong owner: it must be one of the user ids %v",
			path, owners)
	case stat.Mode&0o022 != 0:
		return nil, fmt.Errorf("policy %q can be written by others: run chmod go-w on it", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxPolicyText+1))
	if err != nil {
		return nil, fmt.Errorf("policy %q %w", path, err)
	}
	parsed, err := parsePolicy(cleanPath(path, home, 200), text, realPath(home))
	if err != nil {
		return nil, err
	}
	for i := range parsed.Rules {
		u := &parsed.Rules[i]
		u.program, u.under = realPath(u.program), realPath(u.under)
	}
	return parsed, nil
}

// realPath resolves links where it can. The kernel tells a process's program
// and directory without links, so a rule about /bin/sh would never match
// (SPEC §6). [POL-5]
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); path != "" && err == nil {
		return real
	}
	return path
}
