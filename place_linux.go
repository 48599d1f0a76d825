package main

import "golang.org/x/sys/unix"

// folderFlags open a folder to work at, which needs no right to list it.
const folderFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// renameExchange swaps two names of one folder in one step.
func renameExchange(dir int, a, b string) error {
	return unix.Renameat2(dir, a, dir, b, unix.RENAME_EXCHANGE)
}

// renameExclusive renames within one folder and replaces nothing.
func renameExclusive(dir int, from, to string) error {
	return unix.Renameat2(dir, from, dir, to, unix.RENAME_NOREPLACE)
}
