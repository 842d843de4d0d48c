"""The simulated meters by the name that a scenario gives them."""

from collections.abc import Mapping
from typing import Final

from virtual_home.serial.abbott import FreeStyleLiteMeter, FreeStyleOptiumMeter
from virtual_home.serial.codefree import CodeFreeMeter
from virtual_home.serial.lifescan import Ultra2Meter, UltraEasyMeter
from virtual_home.serial.meter import SerialMeter
from virtual_home.serial.taidoc import TaiDocMeter

CABLE_KINDS: Final[Mapping[str, type[SerialMeter]]] = {
    "ultra2": Ultra2Meter,
    "ultraeasy": UltraEasyMeter,
    "freestyle_lite": FreeStyleLiteMeter,
    "freestyle_optium": FreeStyleOptiumMeter,
    "codefree": CodeFreeMeter,
    "taidoc": TaiDocMeter,
}
