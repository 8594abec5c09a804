# bash completion for grasp. Commands and options come from grasp itself, ids and names from the daemon.

_grasp()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command= i line
    local IFS=$'\n'
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --)
            # Behind it stands another program's command line.
            COMPREPLY=($(compgen -c -f -- "$current"))
            return
            ;;
        --socket | --url | --token-file | --color | --output | -o) ((i++)) ;;
        -*) ;;
        *)
            command=${COMP_WORDS[i]}
            break
            ;;
        esac
    done
    case $previous in
    -o | --output) COMPREPLY=($(compgen -W $'table\nwide\njson\nndjson' -- "$current")); return ;;
    --color) COMPREPLY=($(compgen -W $'auto\nalways\nnever' -- "$current")); return ;;
    -s | --state) COMPREPLY=($(compgen -W $'runnable\nrunning\nsyscall\nwaiting\npreempted\ndead\nlive' -- "$current")); return ;;
    --sort) COMPREPLY=($(compgen -W $'id\ncpu\ntotal\nwait\nstate\nholds\nname' -- "$current")); return ;;
    --kind)
        if [ "$command" = snapshots ]; then
            COMPREPLY=($(compgen -W $'folded\ncore' -- "$current"))
        else
            COMPREPLY=($(compgen -W $'cpu\ngoroutine' -- "$current"))
        fi
        return
        ;;
    --async-preempt) COMPREPLY=($(compgen -W $'on\noff' -- "$current")); return ;;
    -t | --types) COMPREPLY=($(compgen -W $'suspended\nresumed\nlease-expired\nmodule\ndeadlock-suspected\nlog\ngoroutine.created\ngoroutine.ended' -- "$current")); return ;;
    -S | --suspension) COMPREPLY=($(compgen -W "$(_grasp_ids holds)" -- "$current")); return ;;
    --root) COMPREPLY=($(compgen -W "$(_grasp_ids ps)" -- "$current")); return ;;
    -m | --module) COMPREPLY=($(compgen -W "$(_grasp_modules)" -- "$current")); return ;;
    --socket | --token-file | -O | --file) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --module-dir) COMPREPLY=($(compgen -d -- "$current")); return ;;
    esac
    if [ -z "$command" ]; then
        COMPREPLY=($(compgen -W "$(grasp __rows 2>/dev/null | cut -d: -f1; echo help)" -- "$current"))
        return
    fi
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$(grasp __rows "$command" 2>/dev/null | cut -d: -f1)" -- "$current"))
        return
    fi
    case $command in
    help) COMPREPLY=($(compgen -W "$(grasp __rows 2>/dev/null | cut -d: -f1)" -- "$current")) ;;
    modules | load | unload) COMPREPLY=($(compgen -W "$(_grasp_modules)" -- "$current")) ;;
    run) COMPREPLY=($(compgen -W "$(_grasp_entries)" -- "$current") $(compgen -f -X '!*.c' -- "$current")) ;;
    holds | renew) COMPREPLY=($(compgen -W "$(_grasp_ids holds)" -- "$current")) ;;
    snapshots) COMPREPLY=($(compgen -W "$(_grasp_ids snapshots)" -- "$current")) ;;
    show | log | stack | snapshot | suspend | resume | hold | cancel | core | gdb)
        COMPREPLY=($(compgen -W "$(_grasp_ids ps)" -- "$current"))
        ;;
    esac
}

# The first 200 ids of a list.
_grasp_ids()
{
    timeout 2 grasp "$1" -o ndjson 2>/dev/null | sed -n '1,200s/^{"id":\([0-9]*\).*/\1/p'
}

_grasp_modules()
{
    timeout 2 grasp modules -o ndjson 2>/dev/null | sed -n 's/^{"name":"\([^"]*\)".*/\1/p'
}

_grasp_entries()
{
    timeout 2 grasp modules 2>/dev/null | awk 'NR > 1 && $4 != "-" { print $1 "/" $4 }'
}

complete -F _grasp grasp
