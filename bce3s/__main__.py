"""``bce3s COMMAND ...`` or ``python -m bce3s COMMAND ...``: the tools, from any folder."""

from __future__ import annotations

import sys
from importlib import import_module

# command: module of its ``main(argv)``, what it does
COMMANDS = {
    'train': ('bce3s.cli', 'train a config, or on a folder of your own images'),
    'test': ('bce3s.cli', 'evaluate a checkpoint'),
    'launch': ('bce3s.launcher', 'either of them in several processes: launch train 8 CONFIG'),
    'predict': ('bce3s.inference.predict_command', 'label images'),
    'report': ('bce3s.page.command', 'one HTML page of one or several runs'),
    'export': ('bce3s.inference.export_command', 'write ONNX, TorchScript or torch.export'),
    'push': ('bce3s.inference.push_command', 'write a model that anybody may load, or to the Hub'),
    'demo': ('bce3s.inference.demo', 'a page in the browser that labels pictures'),
    'add-class': ('bce3s.inference.add_class', 'teach a model new classes without training'),
    'posthoc': ('bce3s.run_commands', 'post-hoc adjustments of a trained model'),
    'feature-quality': ('bce3s.run_commands', 'neighbours, class means, retrieval, open set'),
    'summarize': ('bce3s.run_commands', 'one table of several seeds'),
    'prepare-data': ('bce3s.prepare_data', 'get a benchmark into place'),
}
SEVERAL = ('bce3s.cli', 'bce3s.run_commands')  # these have several commands
USAGE = 'usage: bce3s COMMAND ...\n\n' + '\n'.join(
    f'  {name:17}{what}' for name, (_, what) in COMMANDS.items()
)


def main(argv: list[str] | None = None) -> int:
    """Calls a command's ``main``; returns its exit status, 2 for a command that there is not."""
    command, *rest = (sys.argv[1:] if argv is None else argv) or ['--help']
    if command in ('-h', '--help'):
        print(f'{USAGE}\n\nbce3s COMMAND --help says more about one.')
        return 0
    if command not in COMMANDS:
        print(f'bce3s: there is no command {command!r}.\n{USAGE}', file=sys.stderr)
        return 2
    module = COMMANDS[command][0]
    run = import_module(module).main
    return run(command, rest) if module in SEVERAL else run(rest)


if __name__ == '__main__':
    sys.exit(main())
