include .env
export
all:
	@env -0
