# Puts a listener in sshd's place that accepts and never says a word. Gone at the next boot.
set -eu
read -r sshd </run/sshd.pid
kill "$sshd"
while kill -0 "$sshd" 2>/dev/null; do sleep 0.05; done
perl -MIO::Socket::INET -e '
    my $listener = IO::Socket::INET->new(LocalPort => 22, Listen => 64, ReuseAddr => 1)
        or die "cannot listen on port 22: $@\n";
    exit if fork;
    open STDIN, "<", "/dev/null"; open STDOUT, ">", "/dev/null"; open STDERR, ">", "/dev/null";
    my @kept;
    while (my $client = $listener->accept) { push @kept, $client }'
