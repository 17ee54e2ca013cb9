# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_tenantctl_global_optspecs
    string join \n database-url= config= o/output= q/quiet v/verbose log-format= color= no-progress h/help V/version
end

function __fish_tenantctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_tenantctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_tenantctl_using_subcommand
    set -l cmd (__fish_tenantctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c tenantctl -n "__fish_tenantctl_needs_command" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_needs_command" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_needs_command" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_needs_command" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_needs_command" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_needs_command" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "init" -d 'Create or upgrade the registry, the owner role and the template'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "provision" -d 'Make tenants'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "rotate" -d 'Give tenants new passwords'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "credentials" -d 'Passwords that are stored encrypted: show one, list all'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "list" -d 'List tenants'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "show" -d 'Show one tenant: tier, limits, tables, sizes, connections'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "validate" -d 'Prove that tenants are isolated, or name each hole and what mends it'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "drop" -d 'Drop tenants: schema, role and registry row together'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "secure" -d 'Bring tenants and the database to the hardening standard'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "backup" -d 'Back tenants up into a store; list, verify and prune backups'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "restore" -d 'Restore a tenant from a backup'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "metrics" -d 'Measure tenants: sizes, connections, queries, limits, backups; raise alerts'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "audit" -d 'Show and prune the audit logs of tenants'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "retention" -d 'Drop what is older than a tier keeps, in whole chunks'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "pgbouncer" -d 'Write PgBouncer\'s configuration for these tenants; prepare the lookup of their passwords'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "bench" -d 'Measure this cluster against the performance targets'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "demo" -d 'Run the whole story on a throw-away cluster'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "man" -d 'Print the manual page, or write all of them into a folder'
complete -c tenantctl -n "__fish_tenantctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -l dry-run -d 'Print the SQL instead of running it'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand init" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -s t -l tier -d 'Tier, for tenants whose line in the file names none [default: provisioning.default_tier]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -s f -l from-file -d 'Read more tenants from a file, one `tenant_id[,tier]` a line; `-` is stdin' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -s j -l jobs -d 'Tenants made at the same time [default: provisioning.jobs]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -l credentials-file -d 'Write passwords to this new file (mode 0600, CSV) instead of stdout' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -l if-not-exists -d 'Count tenants that exist as done, and leave them as they are'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -l no-show -l store-only -d 'Print no passwords: they are stored, encrypted to credentials.age_recipients'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -l dry-run -d 'Print the SQL instead of running it, secrets masked'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand provision" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -s t -l tier -d 'Of all tenants only those of this tier' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -s j -l jobs -d 'Tenants worked on at the same time [default: provisioning.jobs]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -l credentials-file -d 'Write passwords to this new file (mode 0600, CSV) instead of stdout' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -s a -l all -d 'All tenants of this database'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -l disconnect -d 'End the tenants\' sessions once the new password holds'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -l no-show -l store-only -d 'Print no passwords: they are stored, encrypted to credentials.age_recipients'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -l dry-run -d 'Print the SQL instead of running it, secrets masked'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand rotate" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -f -a "show" -d 'Show how to log in as a tenant, with its password'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -f -a "list" -d 'List whose password is stored, since when and for which keys'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and not __fish_seen_subcommand_from show list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -s i -l identity -d 'File with an age or SSH private key; `-` is stdin (may be given more than once)' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from list" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from list" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from list" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from list" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show how to log in as a tenant, with its password'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from help" -f -a "list" -d 'List whose password is stored, since when and for which keys'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand credentials; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -s t -l tier -d 'Only tenants of this tier' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand list" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand show" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand show" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand show" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand show" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand show" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand show" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand show" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand show" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -s t -l tier -d 'With --all: only tenants of this tier' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l check -d 'Run only these checks: ids, separated by commas' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l skip -d 'Run all but these checks; the report names them' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l fail-on -d 'Fail on findings of this severity and above' -r -f -a "critical\t'A tenant can read or change another\'s data, or run code as somebody else'
high\t'A tenant can harm or exhaust others, or a whole line of defence is gone'
medium\t'Weakens a line of defence that others still hold'
low\t'Any finding'
never\t'No finding'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -s f -l format -d 'Form of the report [default: what --output says]' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'
junit\t'JUnit XML, a test case a check'
sarif\t'SARIF 2.1.0'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l report -d 'Write the report to this file, and text to stdout' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -s j -l jobs -d 'Checks run, and tenants probed, at the same time; a check takes one connection, a probed tenant two' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l check-timeout -d 'Seconds that one check may take; one that takes longer is UNKNOWN' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l explain -d 'Tell what a check looks for and why' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l memory -d 'With --preflight: memory of the server\'s machine, such as 64GB [default: this machine\'s, if the server runs here]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l store -d 'With --preflight: store of backups, file:///folder or s3://bucket/prefix [default: backup.store]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l pooler-url -d 'With --preflight: the admin console of PgBouncer, as --database-url' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -s a -l all -d 'All tenants of this database'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l probe -d 'Also become each tenant and try what no tenant should be able to do'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l as-role -d 'With --probe: take the tenant\'s role by SET ROLE in the admin\'s session instead of logging in'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l strict -d 'Fail also when a check could not be run'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l list -d 'List the checks; with --preflight or --post-deploy, theirs'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l preflight -d 'Check the cluster against the deployment checklist instead of the tenants\' isolation'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l post-deploy -d 'Check what must hold once tenants are served: provisioning times, isolation, backups, alerts, baseline'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l print-config -d 'With --preflight: print a postgresql.conf fragment of what should be set otherwise, and check nothing else'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand validate" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -l yes -d 'Yes, destroy them with all their data'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -l disconnect -d 'End the tenants\' sessions instead of refusing when there are any'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -l dry-run -d 'Print the SQL instead of running it'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand drop" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -s t -l tier -d 'Only tenants of this tier' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -s j -l jobs -d 'Tenants changed at the same time [default: provisioning.jobs]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -l all -d 'All tenants, and the database'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -l database -d 'The lines that concern the whole database or cluster'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -l recount -d 'Count anew what limits are held against, even where nothing differs'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -l dry-run -d 'Print the SQL instead of running it'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand secure" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -s t -l tier -d 'Only tenants of this tier' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -l type -d 'What the backup is for, which decides how long it is kept: scheduled, weekly, monthly, manual, pre_migration, or a word of your own' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -s j -l jobs -d 'Sessions that read, shared by all tenants of the run; each may take a second one for a lock [default: backup.jobs]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -l from-replica -d 'Read from this standby instead of the primary: a libpq URL, key=value pairs, or `any` of cluster.replicas' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -l store -d 'Store of backups: file:///folder or s3://bucket/prefix [default: backup.store]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -l all -d 'All tenants'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -l dry-run -d 'Tell what would be backed up, and write nothing'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -a "list" -d 'List backups, newest first'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -a "verify" -d 'Read backups again and prove that they are whole'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -a "prune" -d 'Remove expired backups and what uploads that died have left'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and not __fish_seen_subcommand_from list verify prune help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -l store -d 'Look into this store instead of the registry: file:///folder or s3://bucket/prefix' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -l overdue -d 'List instead the tenants that have had no good backup for so many hours; exits 1 if there are any' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -s j -l jobs -d 'Backups verified at a time; sessions of a drill [default: backup.jobs]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -l store -d 'Only what lies in this store: file:///folder or s3://bucket/prefix [default: the stores that the registry names]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -s i -l identity -d 'File with an age or SSH private key, for encrypted backups; `-` is stdin (may be given more than once)' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -l all -d 'All backups'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -l restore-drill -d 'Also restore each into a schema of its own, compare structure, rows and contents with the backup, and drop it'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from verify" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -l store -d 'Store of backups: file:///folder or s3://bucket/prefix [default: backup.store]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -l yes -d 'Yes, remove them'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -l dry-run -d 'Tell what would go, and remove nothing'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from prune" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from help" -f -a "list" -d 'List backups, newest first'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Read backups again and prove that they are whole'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from help" -f -a "prune" -d 'Remove expired backups and what uploads that died have left'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand backup; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l backup -d 'This backup' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l as -d 'Make a new tenant of this id from the backup instead of replacing the tenant' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -s t -l tier -d 'Tier of the new tenant [default: as in the backup]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l tables -d 'Replace the contents of these tables only' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l keep-days -d 'Days for which what is replaced is kept' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -s j -l jobs -d 'Sessions that load and build indexes at the same time [default: backup.jobs]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l maintenance-work-mem -d 'Memory for each index build, as PostgreSQL writes it' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l credentials-file -d 'Write the passwords of new tenants to this new file with mode 0600 instead of showing them' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l store -d 'Store of backups: file:///folder or s3://bucket/prefix [default: backup.store]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -s i -l identity -d 'File with an age or SSH private key, for encrypted backups; `-` is stdin (may be given more than once)' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l all -d 'With --from-store and --drop-replaced: all tenants'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l latest -d 'The newest good backup; so it is too when --backup is not given'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l undo -d 'Put back what the last restore has replaced'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l drop-replaced -d 'Drop what earlier restores have replaced: of the tenants named at once, with --all where its grace is over'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l from-store -d 'Rebuild registry, roles and tenants from the manifests in the store, on a cluster that has none of them'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l disconnect -d 'End the tenant\'s sessions instead of giving up when they do not let go of its tables'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l no-show -d 'Show no passwords: they are stored encrypted to credentials.age_recipients'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l dry-run -d 'Check the backup, print the plan, and change nothing'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand restore" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -s t -l tier -d 'Only tenants of this tier' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l sizes -d 'How sizes are found out' -r -f -a "exact\t'From the files themselves'
estimate\t'From what the last VACUUM or ANALYZE has written down: faster, and as old as that'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -s j -l jobs -d 'Sessions that read at the same time' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l sort -d 'Order of the tenants in the text, largest first; usage is that of the fullest limit' -r -f -a "usage\t'Usage of the fullest limit'
size\t'Bytes'
connections\t'Sessions'
rows\t'Rows'
backup\t'Time since the last backup'
id\t'Tenant id, from A on'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l top -d 'Show only so many tenants of that order in the text' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l watch -d 'Measure again every so many seconds and show it in place, until Ctrl-C' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -s a -l all -d 'All tenants of this database, and the database\'s own alerts'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l no-business -d 'Leave the business queries of the configuration out; they take a round trip a tenant'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l alerting -d 'Show only tenants with an alert in the text'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l cached -d 'Read what an earlier run has left in Redis instead of measuring, and say how old it is'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l enforce -d 'Freeze writes of tenants that have reached the size of their tier, and thaw those that are below 90 % of it'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l dry-run -d 'With --enforce: print the SQL instead of running it'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l no-notify -d 'Send no alerts; they are shown and exit with 1 all the same'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -a "serve" -d 'Serve the metrics to Prometheus, until Ctrl-C'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -a "rules" -d 'Print alerting rules for Prometheus'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -a "dashboard" -d 'Print a dashboard for Grafana'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -a "report" -d 'Write a page with all figures, for a browser without a network'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and not __fish_seen_subcommand_from serve rules dashboard report help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l listen -d 'Address and port to listen at; :9187 is all addresses' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l max-tenants-detailed -d 'Tenants that get the histogram of query durations; the others\' is one together, as tenant_id=""' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l sizes -d 'How sizes are found out' -r -f -a "exact\t'From the files themselves'
estimate\t'From what the last VACUUM or ANALYZE has written down: faster, and as old as that'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l sizes-every -d 'Seconds for which sizes are good' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l every -d 'Seconds for which all else is good: scrapes in between get the same samples' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l wait -d 'Seconds that a scrape waits at most for a measurement before it takes the samples of the one before' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l business-every -d 'Seconds for which business metrics are good; 0 leaves the queries out' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -s j -l jobs -d 'Sessions that read at the same time' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l no-notify -d 'Send no alerts; they are exposed all the same'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from serve" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from rules" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from rules" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from rules" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from rules" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from rules" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from rules" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from rules" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from rules" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from rules" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from rules" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from dashboard" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from dashboard" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from dashboard" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from dashboard" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from dashboard" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from dashboard" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from dashboard" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from dashboard" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from dashboard" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from dashboard" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -s t -l tier -d 'Only tenants of this tier' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -l sizes -d 'How sizes are found out' -r -f -a "exact\t'From the files themselves'
estimate\t'From what the last VACUUM or ANALYZE has written down: faster, and as old as that'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -s j -l jobs -d 'Sessions that read at the same time' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -l html -d 'The file; it is there whole or as it was' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -s a -l all -d 'All tenants of this database, and the database\'s own alerts'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -l no-business -d 'Leave the business queries of the configuration out; they take a round trip a tenant'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from report" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from help" -f -a "serve" -d 'Serve the metrics to Prometheus, until Ctrl-C'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from help" -f -a "rules" -d 'Print alerting rules for Prometheus'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from help" -f -a "dashboard" -d 'Print a dashboard for Grafana'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from help" -f -a "report" -d 'Write a page with all figures, for a browser without a network'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand metrics; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -f -a "show" -d 'Show what a tenant changed, newest first'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -f -a "prune" -d 'Remove old entries'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and not __fish_seen_subcommand_from show prune help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -l table -d 'Only changes of this table' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -l operation -d 'Only changes of this kind' -r -f -a "insert\t'A row was added'
update\t'A row was changed'
delete\t'A row was removed'
truncate\t'A table was emptied'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -l since -d 'Only changes since this time, such as 2026-01-31 or 2026-01-31T12:00:00Z; UTC where it names no zone' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -s l -l limit -d 'At most so many' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -l full -d 'Show rows of any length; without, those above 64 KiB are replaced by their length'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -l older-than -d 'Remove entries older than so many days [default: audit.keep_days]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -l all -d 'All tenants'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -l dry-run -d 'Count them instead of removing them'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from prune" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show what a tenant changed, newest first'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "prune" -d 'Remove old entries'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand audit; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -s t -l tier -d 'Of all tenants only those of this tier' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -s j -l jobs -d 'Tenants worked on at the same time [default: provisioning.jobs]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -s a -l all -d 'All tenants of this database'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -l dry-run -d 'Print what would be dropped instead of dropping it'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand retention" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l out -d 'Write pgbouncer.ini and what it includes into this folder' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l admin-url -d 'The admin console, as --database-url: a libpq URL or key=value pairs' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l pgbouncer-version -d 'The version to write for; else that of the running one with --reload, or of the one installed here' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l setup -d 'Make the pooler\'s role and the function in the registry with which it looks passwords up'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l rotate -d 'Give the pooler\'s role a new password, even where the one in userlist.txt fits'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l reload -d 'Have a running PgBouncer read its configuration anew, through its admin console'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l dry-run -d 'Print what would be done instead of doing it'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand pgbouncer" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l baseline -d 'Compare with the JSON of an earlier run; exits with 1 where a figure is worse beyond --noise' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l noise -d 'Per cent by which a figure may differ from the baseline for no reason [default: 25]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l report -d 'Also write one self-contained page for a browser' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -s j -l jobs -d 'Sessions at the same time; of queries the most clients [default: provisioning 20, queries 16, metrics and scale 4, backup what backup.jobs says]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l rounds -d 'Rounds, each with every contender in turn; the median counts. One of backup has three backups by tenantctl and by the quick one of the others [default: backup 1, metrics and scale 3, resources 20, queries, audit and limits 40]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l at -d 'Measure when the database holds this many tenants; may be given more than once [default: metrics 100 and 1000]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l count -d 'provisioning: tenants made one by one, each beside one made by raw DDL [default: 50]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l concurrent -d 'provisioning: tenants made at once [default: 100]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l tier -d 'provisioning: tier of the tenants [default: enterprise]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l trades -d 'queries, resources: trades of the tenant [default: 1000000]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l singles -d 'audit, limits: statements of one row on each of four tenants [default: 3000]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l size -d 'backup: size of the tenant in GiB of tables, without indexes; 0 leaves it out [default: 1]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l small -d 'backup: also measure small tenants: one among ten and among so many, and all of them at once, up to 1,000' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l folder -d 'backup: folder for the backups of all contenders [default: the system\'s temporary folder]' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l to -d 'scale: the largest number of tenants, reached by factors of ten [default: 1000]' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -s a -l all -d 'All suites, one after the other'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l record -d 'Remember the figures in the registry of this database, for `validate --post-deploy`'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l beside-tenants -d 'Measure though the cluster holds tenants, who will notice the load'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l alone -d 'backup: measure tenantctl alone; at 10 GiB, pg_dump at its highest compression takes half an hour'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l no-postgres-exporter -d 'metrics: leave prometheus-postgres-exporter out'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand bench" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -l keep -d 'Leave the cluster running and print how to connect'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand demo" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand completions" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand completions" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand completions" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand completions" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand completions" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand completions" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand completions" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand completions" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand completions" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -l dir -d 'Write a page for every command into this folder' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -l database-url -d 'Server and database: a libpq URL, key=value pairs, or a database name' -r
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -l config -d 'Policy file' -r -F
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -s o -l output -d 'Form of the result on stdout' -r -f -a "text\t'For people'
json\t'For programs; fields are added, never renamed'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -l log-format -d 'Form of log lines and errors on stderr' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Always'
never\t'Never'"
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -s q -l quiet -d 'Print no hints and no progress, only results and errors'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -s v -l verbose -d 'Log more to stderr: -v for what is done, -vv for every statement'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -l no-progress -d 'Show no progress bar'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand man" -s V -l version -d 'Print version'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "init" -d 'Create or upgrade the registry, the owner role and the template'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "provision" -d 'Make tenants'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "rotate" -d 'Give tenants new passwords'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "credentials" -d 'Passwords that are stored encrypted: show one, list all'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "list" -d 'List tenants'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "show" -d 'Show one tenant: tier, limits, tables, sizes, connections'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "validate" -d 'Prove that tenants are isolated, or name each hole and what mends it'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "drop" -d 'Drop tenants: schema, role and registry row together'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "secure" -d 'Bring tenants and the database to the hardening standard'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "backup" -d 'Back tenants up into a store; list, verify and prune backups'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "restore" -d 'Restore a tenant from a backup'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "metrics" -d 'Measure tenants: sizes, connections, queries, limits, backups; raise alerts'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "audit" -d 'Show and prune the audit logs of tenants'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "retention" -d 'Drop what is older than a tier keeps, in whole chunks'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "pgbouncer" -d 'Write PgBouncer\'s configuration for these tenants; prepare the lookup of their passwords'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "bench" -d 'Measure this cluster against the performance targets'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "demo" -d 'Run the whole story on a throw-away cluster'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "completions" -d 'Print the completion script of a shell'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "man" -d 'Print the manual page, or write all of them into a folder'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and not __fish_seen_subcommand_from init provision rotate credentials list show validate drop secure backup restore metrics audit retention pgbouncer bench demo completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from credentials" -f -a "show" -d 'Show how to log in as a tenant, with its password'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from credentials" -f -a "list" -d 'List whose password is stored, since when and for which keys'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from backup" -f -a "list" -d 'List backups, newest first'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from backup" -f -a "verify" -d 'Read backups again and prove that they are whole'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from backup" -f -a "prune" -d 'Remove expired backups and what uploads that died have left'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from metrics" -f -a "serve" -d 'Serve the metrics to Prometheus, until Ctrl-C'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from metrics" -f -a "rules" -d 'Print alerting rules for Prometheus'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from metrics" -f -a "dashboard" -d 'Print a dashboard for Grafana'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from metrics" -f -a "report" -d 'Write a page with all figures, for a browser without a network'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "show" -d 'Show what a tenant changed, newest first'
complete -c tenantctl -n "__fish_tenantctl_using_subcommand help; and __fish_seen_subcommand_from audit" -f -a "prune" -d 'Remove old entries'
