"The command, as `python -m objectstore`"
from .command.main import run

if __name__ == '__main__': run()
