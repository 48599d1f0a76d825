_keepmum() {
  local words=
  if [ "${COMP_WORDS[COMP_CWORD-1]}" = --dialect ]; then
    words=%q
  elif [ "$COMP_CWORD" -eq 1 ]; then
    words=%q
  else
    case ${COMP_WORDS[1]} in
%s    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _keepmum keepmum
