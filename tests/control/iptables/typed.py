"""The program `iptables-typing` (typing.cc) as an object: iptables' commands without a daemon."""
import json
import subprocess


class Typing:
    """Postern's iptables commands, with rules of their own."""

    BROKEN = 99  # its own saved text can't be read back

    def __init__(self, program):
        self.child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _ask(self, **request):
        self.child.stdin.write(json.dumps(request).encode() + b"\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            raise RuntimeError(f"{request}: the program ended with {self.child.wait()}")
        return json.loads(answer)

    def reset(self):
        self._ask(reset=True)

    def run(self, words, text=""):
        """Exit status, output, sentences."""
        answer = self._ask(program=words[0], arguments=words[1:], input=text)
        if answer["status"] == self.BROKEN:
            raise RuntimeError(f"{words}: {answer['error']}")
        return answer["status"], answer["out"], answer["error"]

    def close(self):
        self.child.stdin.close()
        return self.child.wait()
