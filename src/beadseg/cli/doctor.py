from beadseg.cli.options import *
def doctor(json: Json=False, x: Set=None)->None:
    """Do it.

    Long [text] here.
    """
    print(json, x)
    raise KeyError(3)
